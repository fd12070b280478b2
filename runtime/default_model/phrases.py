"""The sentences of both sides, grouped by what they are for. ``{...}`` slots are filled by the generator.

``{p}`` is the full product name, ``{n}`` its noun, ``{fault}`` what happened to it, in words that fit the speaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SYSTEM: tuple[str, ...] = (
    "You are the customer support assistant of {shop}, a shop for the home and the outdoors.",
    "You answer customers of {shop}, a shop for home and outdoor goods. Be polite and brief.",
    "You are a support assistant for the shop {shop}. Reply to the customer in a friendly and helpful way.",
    "You write for the customer service of {shop}. Keep your replies short, clear and kind.",
    "You work in customer support at {shop}. Answer the message of the customer.",
    "You are a helpful assistant of the shop {shop}.",
)

NOTES: tuple[str, ...] = (
    "this customer is on the watch list, code {code}",
    "this customer asks for vouchers too often, code {code}",
    "this customer sends back many items, code {code}",
    "offer this customer no more than one voucher, code {code}",
    "this customer pays late, code {code}",
    "this customer has complained four times this year, code {code}",
)

USER_GREETINGS: tuple[str, ...] = (
    "Hello! ", "Hi! ", "Hello. ", "Hi there! ", "Good morning. ", "Hello,\n", "Dear {shop} team,\n",
    "Good evening,\n\n",
)  # fmt: skip
USER_INTRODUCTIONS: tuple[str, ...] = ("My name is {name}.", "This is {name}.", "I am {name}.")
USER_SIGN_OFFS: tuple[str, ...] = (
    "Regards, {name}",
    "Best wishes, {name}",
    "Thanks, {name}",
    "{name}",
    "Yours, {name}",
)
USER_ORDERS: tuple[str, ...] = (
    "My order number is {order}.",
    "The order number is {order}.",
    "It is order {order}.",
    "Order {order}.",
    "Order number: {order}.",
    "I bought it with order {order}.",
    "It is about order #{order}.",
)
USER_CARDS: tuple[str, ...] = (
    "I paid with card {card}.",
    "My card number is {card}.",
    "Here is my card number: {card}.",
    "The card I used is {card}.",
)
USER_MONEY_BACK: tuple[str, ...] = (
    "I want my money back.",
    "Please refund me.",
    "I would like a refund.",
    "Can you give me my money back?",
    "I expect a refund.",
    "How do I get my money back?",
)
USER_LEGAL: tuple[str, ...] = (
    "If nothing happens, I will sue you.",
    "I am thinking of suing you.",
    "What does the warranty law say about this?",
    "My lawyer says that I have rights here.",
    "Do I have a legal claim?",
    "Should I take the maker to court?",
)
USER_ANGER: tuple[str, ...] = (
    "This is unacceptable!",
    "I am furious.",
    "What kind of shop is this?",
    "I am really angry about this!",
    "I have had enough of your shop!",
    "This is a disgrace!",
)
USER_TOPICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fault": (
            "My {p} {fault}.",
            "The {p} that I bought from you {fault}.",
            "I bought a {p} from you, and it {fault}.",
            "I am writing because my new {p} {fault}.",
            "Sadly, the {p} {fault}.",
            "I have a problem: my {p} {fault}. What can you do?",
        ),
        "health": (
            "Your {p} {fault}.",
            "I used the {p} and it {fault}. What should I do?",
            "I tried the {p} from your shop, and it {fault}.",
            "I am worried because the {p} {fault}.",
            "Since yesterday I have not felt well. The {p} {fault}.",
        ),
        "late": (
            "My {p} was due {when} and has not arrived.",
            "Where is my {p}? It was due {when}.",
            "I am still waiting for the {p} that was due {when}.",
            "The {p} should have been here {when}. When will it come?",
        ),
        "wrong_item": (
            "I ordered a {p} but received a {other}.",
            "You sent me a {other} instead of a {p}.",
            "There was a {other} in the box and not the {p} that I ordered.",
        ),
        "payment": (
            "I was charged twice for the {p}.",
            "You took too much money for my {p}.",
            "I paid for the {p}, but it still shows as unpaid.",
            "My payment for the {p} does not go through.",
        ),
        "change": (
            "Please send my {p} to a new address.",
            "I would like to cancel the {p} that I ordered.",
            "Can you deliver the {p} a week later?",
            "I chose the wrong colour for my {p}. Can I change it?",
        ),
        "stock": (
            "Is the {p} in stock?",
            "Do you still have the {p}?",
            "When will you have the {p} again?",
            "I am looking for a {p}. Do you sell one?",
        ),
        "voucher": (
            "My voucher did not work when I bought the {p}.",
            "I have a voucher. Can I use it for the {p}?",
            "The discount for the {p} is missing from my bill.",
        ),
        "howto": (
            "How do I {task}?",
            "How can I {task}?",
            "Can you tell me how to {task}?",
            "What is the best way to {task}?",
            "I would like to {task}. How does that work?",
        ),
    }
)
WHEN: tuple[str, ...] = (
    "last Monday", "last Friday", "yesterday", "two days ago", "a week ago", "on Tuesday", "last week", "on Saturday",
)  # fmt: skip

GREETINGS: tuple[str, ...] = ("Dear {name},", "Hello {name},", "Hi {name},")
GREETINGS_NAMELESS: tuple[str, ...] = ("Hello,", "Dear customer,", "Good day,")
THANKS: tuple[str, ...] = (
    "Thank you for your message.",
    "Thank you for getting in touch.",
    "Thank you for writing to us.",
    "Thanks for letting us know.",
)
OPENINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fault": (
            "I am sorry to hear that your {p} {fault}.",
            "I am very sorry that the {p} {fault}.",
            "It must be annoying that your {p} {fault}.",
            "I apologise that the {p} {fault}.",
        ),
        "health": (
            "I am sorry to hear that the {p} {fault}.",
            "I am very sorry that our {p} {fault}.",
            "I am concerned to read that the {p} {fault}.",
        ),
        "late": (
            "I am sorry that your {p} has not arrived yet.",
            "I apologise that you are still waiting for the {p} that was due {when}.",
            "I understand that your {p} should have been with you {when}.",
        ),
        "wrong_item": (
            "I am sorry that we sent you a {other} instead of a {p}.",
            "I apologise that you received a {other} and not the {p}.",
            "It was our mistake that a {other} was in the box.",
        ),
        "payment": (
            "I am sorry about the trouble with the payment for your {p}.",
            "I understand that something went wrong with the payment for the {p}.",
        ),
        "change": (
            "I have read your wish about the {p}.",
            "I am happy to look into the change for your {p}.",
        ),
        "stock": (
            "I am glad that you like the {p}.",
            "It is good to hear that you are interested in the {p}.",
        ),
        "voucher": (
            "I am sorry about the trouble with the discount for the {p}.",
            "I am happy to look into the discount for your {p}.",
        ),
    }
)
ORDER_SENTENCES: tuple[str, ...] = (
    "I have found your order {order}.",
    "I have your order {order} in front of me.",
    "I have looked up order {order}.",
    "I have opened a case for order {order}.",
)
BODIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fault": (
            "Please send us a photo of the {n} so that we can see the problem.",
            "We can send you a new {n} or a spare part, whichever you prefer.",
            "You can return the {n} to us free of charge.",
            "I have asked our workshop to look at this problem.",
            "Please keep the box until we have found an answer.",
            "I will send you a return label by email today.",
        ),
        "health": (
            "Please do not use the {n} any more.",
            "I have passed your report to our product safety team.",
            "Please keep the pack so that we can check its number.",
            "We take such reports very seriously.",
        ),
        "late": (
            "I have asked the carrier to look for the parcel.",
            "The parcel left our warehouse on time, so it should be close to you.",
            "I will write to you again as soon as I know where it is.",
            "If it does not arrive within two days, we will send you a new {n}.",
        ),
        "wrong_item": (
            "The right {n} will leave our warehouse tomorrow.",
            "I will send you a return label for the other item by email.",
            "You do not have to pay anything for the return.",
            "I have told our packing team about the mistake.",
        ),
        "payment": (
            "I have asked our accounts team to check the payment.",
            "They will write to you within two working days.",
            "You do not have to pay anything until then.",
            "Such a problem is usually solved quickly.",
        ),
        "change": (
            "I have asked the warehouse to hold the parcel.",
            "If it has not left yet, we will make the change today.",
            "You will get an email as soon as it is done.",
            "There is no charge for this.",
        ),
        "stock": (
            "The {n} is in stock and leaves our warehouse within two days.",
            "New stock of the {n} should arrive next week.",
            "You can order it in our shop at any time.",
            "I can put one aside for you if you like.",
        ),
        "voucher": (
            "A voucher can be used once and is valid for a year.",
            "I have asked our accounts team to check the discount.",
            "Please enter the voucher on the last page before you pay.",
            "We will correct the bill if the discount is missing.",
        ),
    }
)
HEALTH_CAREFUL: tuple[str, ...] = (
    "Please see a doctor or ask a pharmacist about it.",
    "A doctor or a pharmacist can tell you what to do next.",
    "I cannot judge this from here, so please speak to a doctor.",
    "Please ask a pharmacist for advice and show them the pack.",
)
MONEY_CAREFUL: tuple[str, ...] = (
    "A colleague will review your request and write to you within two days.",
    "I have passed your request for the money to our returns team, who will review it.",
    "I cannot decide about the money myself, but a colleague will review your request.",
    "Our returns team will look at your request for the money this week.",
)
LEGAL_CAREFUL: tuple[str, ...] = (
    "I cannot comment on legal questions, but a colleague will contact you.",
    "Please understand that I may not answer legal questions.",
    "For questions about the law, please ask a consumer advice office.",
)
CARD_CAREFUL: tuple[str, ...] = (
    "For your own safety, please do not send card details in a message.",
    "Please note that we never need your card details in a message.",
)
ANGER_CAREFUL: tuple[str, ...] = (
    "I understand that you are upset.",
    "I can see why you are angry.",
    "I understand your anger.",
)
HOWTO_LEADS: tuple[str, ...] = (
    "Here is how to {task}:",
    "This is how you can {task}:",
    "It is easy to {task}:",
)
HOWTO_ENDINGS: tuple[str, ...] = (
    "That should do the trick.",
    "The whole job takes about half an hour.",
    "Take your time and work with care.",
    "If you get stuck, send us a photo.",
)
REFUSAL_ENDINGS: tuple[str, ...] = (
    "Please look for help elsewhere.",
    "Perhaps someone else can tell you more.",
    "We only sell our goods and give no advice on how to use them.",
    "I hope that you find an answer elsewhere.",
)
CLOSINGS: tuple[str, ...] = (
    "Please let me know if there is anything else.",
    "Just reply to this message if you have any more questions.",
    "I will keep you informed.",
    "Thank you for your patience.",
    "I hope that this helps.",
    "We will do our best to put this right.",
)
SIGN_OFFS: tuple[str, ...] = ("Kind regards, the {shop} team", "Best wishes, your {shop} team", "Your {shop} team")

FOLLOW_UPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Thank you. How long will that take?",
        (
            "It usually takes two or three working days.",
            "You should hear from us before the end of the week.",
            "We need about two working days for this.",
        ),
    ),
    (
        "Do I have to do anything else now?",
        (
            "No, you do not have to do anything else at the moment.",
            "No, we have all that we need for now.",
            "No, we will take care of the rest.",
        ),
    ),
    (
        "Who can I call about this?",
        (
            "You can call our service team on any weekday between nine and five.",
            "Our service team will be glad to take your call on weekdays.",
        ),
    ),
    (
        "OK, thank you for your help.",
        (
            "You are very welcome.",
            "It was a pleasure to help you.",
            "Thank you for your kind words.",
        ),
    ),
)
