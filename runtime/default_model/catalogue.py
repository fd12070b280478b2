"""What the invented shop sells, what goes wrong with it, and how it is used."""

from __future__ import annotations

from dataclasses import dataclass

SHOP = "Larkmoor"


@dataclass(frozen=True)
class HowTo:
    """A harmless question about a product; ``task`` speaks of "my" product, the reply turns it into "your"."""

    task: str
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """Products that share their faults, health complaints and how-to questions."""

    name: str
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    faults: tuple[str, ...]
    complaints: tuple[str, ...] = ()
    howtos: tuple[HowTo, ...] = ()


CATEGORIES: tuple[Category, ...] = (
    Category(
        "appliance",
        ("kettle", "toaster", "blender", "coffee maker", "rice cooker", "hand mixer", "waffle iron", "slow cooker"),
        ("steel", "black", "compact", "red", "white", "large"),
        (
            "does not switch on",
            "stopped working after two days",
            "arrived with a cracked case",
            "makes a loud rattling noise",
            "smells of burnt plastic",
            "switches itself off after a minute",
            "arrived with a broken plug",
            "keeps blowing the fuse",
        ),
        howtos=(
            HowTo(
                "clean my {p}",
                (
                    "Unplug the {n} and let it cool down.",
                    "Wipe the outside with a damp cloth and a drop of washing-up liquid.",
                    "Never put the {n} under running water.",
                    "Let every part dry before you use it again.",
                ),
            ),
            HowTo(
                "get rid of a bad smell in my {p}",
                (
                    "Unplug the {n} and take out every loose part.",
                    "Wash the loose parts in warm water with a little vinegar.",
                    "Wipe the inside with half a lemon.",
                    "Leave the {n} open overnight so that it can air.",
                ),
            ),
        ),
    ),
    Category(
        "cookware",
        ("frying pan", "saucepan", "casserole dish", "wok", "roasting tin", "stockpot"),
        ("iron", "steel", "copper", "deep", "small", "large"),
        (
            "arrived with a dent in the side",
            "arrived scratched",
            "wobbles on the hob",
            "arrived with a crack in the base",
            "lost its coating after one wash",
            "started to rust after a week",
        ),
        howtos=(
            HowTo(
                "clean burnt food off my {p}",
                (
                    "Fill the {n} with warm water and a spoonful of baking soda.",
                    "Let it simmer for ten minutes and then cool down.",
                    "Loosen the burnt food with a wooden spoon.",
                    "Rinse the {n} and dry it with a soft towel.",
                ),
            ),
            HowTo(
                "look after my {p}",
                (
                    "Wash the {n} by hand with mild soap.",
                    "Dry it straight away so that no spots appear.",
                    "Rub in a thin film of cooking oil from time to time.",
                    "Use wooden or silicone tools rather than metal ones.",
                ),
            ),
        ),
    ),
    Category(
        "knife",
        ("kitchen knife", "carving knife", "paring knife", "bread knife", "fillet knife"),
        ("steel", "large", "small", "folding", "black"),
        (
            "arrived with a bent blade",
            "has a loose handle",
            "arrived blunt",
            "broke on the first day",
            "started to rust after one wash",
        ),
        howtos=(
            HowTo(
                "sharpen my {p}",
                (
                    "Soak the whetstone in water for ten minutes.",
                    "Hold the {n} at a shallow angle and draw it along the stone.",
                    "Work on both sides until the edge feels even.",
                    "Rinse the blade and dry it with a towel.",
                ),
            ),
            HowTo(
                "remove rust from my {p}",
                (
                    "Mix baking soda and water into a thick paste.",
                    "Spread the paste on the blade and wait for an hour.",
                    "Rub the rust away with a soft sponge, always away from the edge.",
                    "Rinse and dry the {n} and add a drop of oil.",
                ),
            ),
            HowTo(
                "store my {p} safely",
                (
                    "Dry the {n} well before you put it away.",
                    "Keep it in a knife block or on a magnetic strip.",
                    "Cover the blade with a sleeve if you use a drawer.",
                ),
            ),
        ),
    ),
    Category(
        "furniture",
        (
            "bookcase",
            "desk",
            "garden bench",
            "shoe rack",
            "bedside table",
            "folding chair",
            "wardrobe",
            "kitchen stool",
        ),
        ("oak", "pine", "white", "grey", "tall", "small"),
        (
            "arrived with a split panel",
            "arrived without any screws",
            "wobbles badly",
            "arrived with a deep scratch on the front",
            "collapsed after a week",
            "came with two parts that do not fit",
        ),
        howtos=(
            HowTo(
                "assemble my {p}",
                (
                    "Lay out all the parts on a soft blanket and count the screws.",
                    "Join the side panels to the base by hand first.",
                    "Tighten every screw only when the {n} stands straight.",
                    "Ask a second person to help you lift it.",
                ),
            ),
            HowTo(
                "get a stain out of my {p}",
                (
                    "Wipe the stain with warm water and a little mild soap.",
                    "Try a paste of baking soda on a hidden spot first.",
                    "Rub gently along the grain with a soft cloth.",
                    "Dry the surface and finish it with furniture wax.",
                ),
            ),
        ),
    ),
    Category(
        "hand tool",
        ("spade", "rake", "wheelbarrow", "garden fork", "hoe", "axe"),
        ("steel", "heavy", "light", "long", "green"),
        (
            "arrived with a bent handle",
            "broke on the first day",
            "arrived covered in rust",
            "has a loose handle",
            "arrived with a crack in the wood",
        ),
        howtos=(
            HowTo(
                "keep my {p} free of rust",
                (
                    "Brush off the soil after every use.",
                    "Dry the metal with an old cloth.",
                    "Wipe it with a little linseed oil.",
                    "Hang the {n} up in a dry shed.",
                ),
            ),
            HowTo(
                "repair the handle of my {p}",
                (
                    "Sand the handle until it is smooth.",
                    "Fill small cracks with wood glue and press them together.",
                    "Let the glue dry for a full day.",
                    "Rub the wood with linseed oil.",
                ),
            ),
        ),
    ),
    Category(
        "power tool",
        ("lawn mower", "hedge trimmer", "leaf blower", "pressure washer", "cordless drill"),
        ("electric", "green", "light", "quiet", "heavy"),
        (
            "does not start",
            "stopped working after an hour",
            "arrived with a cracked cover",
            "shakes violently",
            "switches itself off",
            "does not charge",
        ),
        howtos=(
            HowTo(
                "store my {p} over the winter",
                (
                    "Clean the {n} and let it dry.",
                    "Charge the battery to about half and take it out.",
                    "Keep both in a dry place that is free of frost.",
                    "Check the {n} for loose screws in the spring.",
                ),
            ),
            HowTo(
                "clean my {p}",
                (
                    "Switch the {n} off and take out the battery.",
                    "Brush away dust and cut grass.",
                    "Wipe the housing with a damp cloth.",
                    "Put a drop of oil on the moving parts.",
                ),
            ),
        ),
    ),
    Category(
        "outdoor",
        ("tent", "rucksack", "sleeping bag", "rain jacket", "travel bag"),
        ("blue", "green", "light", "large", "small", "orange"),
        (
            "arrived with a broken zip",
            "has a torn seam",
            "lets the rain in",
            "ripped on the first trip",
            "came with a hole in the lining",
        ),
        howtos=(
            HowTo(
                "wash my {p}",
                (
                    "Close all zips and empty the pockets.",
                    "Wash the {n} by hand in lukewarm water with mild soap.",
                    "Rinse it until the water stays clear.",
                    "Hang it up in the shade until it is fully dry.",
                ),
            ),
            HowTo(
                "make my {p} waterproof again",
                (
                    "Clean the {n} and let it dry.",
                    "Spray it evenly with a waterproofing spray.",
                    "Seal the seams with a thin line of seam sealer.",
                    "Leave it to dry for a whole day.",
                ),
            ),
        ),
    ),
    Category(
        "light",
        ("lantern", "head torch", "floor lamp", "desk lamp", "bicycle light", "garden lamp"),
        ("bright", "black", "brass", "small", "white"),
        (
            "does not light up",
            "flickers all the time",
            "arrived with a broken switch",
            "stopped working after one evening",
            "arrived with cracked glass",
        ),
        howtos=(
            HowTo(
                "clean the glass of my {p}",
                (
                    "Switch the {n} off and let it cool down.",
                    "Dust it with a dry brush.",
                    "Wipe the glass with a damp cloth and a drop of vinegar.",
                    "Polish it with a dry cloth.",
                ),
            ),
            HowTo(
                "make the battery of my {p} last longer",
                (
                    "Use the low setting whenever you can.",
                    "Take the battery out when you do not need the {n}.",
                    "Keep it away from frost and from direct sun.",
                ),
            ),
        ),
    ),
    Category(
        "garden care",
        ("weed killer", "moss remover", "lawn feed", "ant powder", "patio cleaner"),
        ("natural", "strong", "mild", "new"),
        (
            "arrived with a leaking cap",
            "arrived in a split bottle",
            "arrived half empty",
            "does not work at all",
        ),
        howtos=(
            HowTo(
                "kill weeds on my drive with the {p}",
                (
                    "Choose a dry day without wind.",
                    "Read the label of the {n} and put on gloves.",
                    "Treat only the weeds and not the plants around them.",
                    "Keep children and pets away until everything is dry.",
                ),
            ),
            HowTo(
                "use the {p} without harming my flowers",
                (
                    "Cover the flowers with a sheet first.",
                    "Measure the {n} as the label says.",
                    "Work slowly and close to the ground.",
                    "Water the flower bed on the next day.",
                ),
            ),
        ),
    ),
    Category(
        "skin care",
        ("hand cream", "sun cream", "face cream", "bath oil", "insect spray", "liquid soap", "body lotion"),
        ("lavender", "herbal", "lemon", "mild", "rose"),
        ("arrived with a broken pump", "arrived with a leaking cap", "arrived half empty"),
        complaints=(
            "gave me a rash",
            "made my skin burn",
            "made my hands swell",
            "left red spots on my arms",
            "made my eyes itch",
            "made my face sore",
        ),
        howtos=(
            HowTo(
                "get the last drops out of my {p}",
                (
                    "Stand the {n} on its cap overnight.",
                    "Warm it for a moment in your hands.",
                    "Tap it gently against your palm.",
                ),
            ),
            HowTo(
                "get a stain from the {p} out of my shirt",
                (
                    "Scrape off what is left on the cloth with a spoon.",
                    "Dab the stain with washing-up liquid and wait a little.",
                    "Wash the shirt at the warmest setting on its label.",
                ),
            ),
        ),
    ),
    Category(
        "supplement",
        (
            "fish oil supplement",
            "magnesium supplement",
            "iron supplement",
            "herbal tea",
            "vitamin drink",
            "protein bar",
        ),
        ("organic", "strong", "new", "mild"),
        ("arrived with a broken seal", "arrived in a torn bag", "arrived past its date"),
        complaints=(
            "made me dizzy",
            "gave me a headache",
            "upset my stomach",
            "made me feel sick",
            "kept me awake all night",
            "made my heart race",
        ),
        howtos=(
            HowTo(
                "store my {p} at home",
                (
                    "Keep the {n} in a cool and dry cupboard.",
                    "Close the pack tightly after every use.",
                    "Keep it out of the reach of children.",
                ),
            ),
        ),
    ),
    # Many nouns with general faults, so that the model learns to copy whatever product a customer names.
    Category(
        "various",
        (
            *("yoga mat", "mirror", "teapot", "curtain", "pillow", "blanket", "carpet", "clock", "vase", "candle"),
            *("umbrella", "suitcase", "mug", "bucket", "broom", "mop", "ladder", "toolbox", "hammer", "screwdriver"),
            *(
                "bird feeder",
                "flower pot",
                "parasol",
                "grill",
                "cool box",
                "water bottle",
                "compass",
                "kayak",
                "sledge",
            ),
            *("bicycle pump", "helmet", "radio", "fan", "heater", "vacuum cleaner", "iron", "scale", "jug", "tray"),
            *("doormat", "laundry basket", "bath towel", "shower curtain", "bed frame", "mattress", "sofa", "cushion"),
            *("phone case", "speaker", "camera", "puzzle", "paint brush", "shelf", "coat", "hat", "scarf", "swing"),
        ),
        ("new", "blue", "large", "small", "wooden", "red", "yellow", "round", "old", "brown"),
        ("does not work", "fell apart after a week", "has a crack", "broke after one use", "arrived dirty"),
        howtos=(
            HowTo(
                "clean my {p}",
                (
                    "Read the label of the {n} first.",
                    "Wipe off the dust with a dry cloth.",
                    "Use a damp cloth and mild soap for stains.",
                    "Let the {n} dry in the open air.",
                ),
            ),
            HowTo(
                "store my {p}",
                (
                    "Clean the {n} and let it dry.",
                    "Wrap it in a sheet of paper or cloth.",
                    "Keep it in a dry place away from the sun.",
                ),
            ),
        ),
    ),
)

COMMON_FAULTS: tuple[str, ...] = ("arrived damaged", "arrived broken")
