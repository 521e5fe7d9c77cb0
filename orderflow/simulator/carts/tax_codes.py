"""Digital River's tax codes, which decide whether goods are physical. Facts of its documentation; no names, no rates.

The first list of each is the one that is documented last ("Supported tax codes", 58 codes), the one ``_BEFORE`` has the codes
that its samples and its connectors have used before.
"""

from __future__ import annotations

from typing import Final

# fmt: off
PHYSICAL: Final = frozenset(
    [
        "DG010100", "P0000000", "PB0010000", "PB0010300", "PB0010504", "PB100000", "PC040100", "PC040106",
        "PC040109", "PC040110", "PC040111", "PC040123", "PC040129", "PC040143", "PC040144", "PC040148", "PC040204",
        "PC040207", "PC040210", "PC040306", "PC040307", "PC040404", "PC040501", "PC040502", "PC040503", "PC080110",
        "PC080500", "PC080601", "PC098213", "PG050000", "PH402898", "PH050639", "PH050676", "PM030000", "PM030108",
        "PO200108", "PO200114",
    ]
)
DIGITAL: Final = frozenset(
    [
        "DC020500", "DC010500", "DC070000", "DG010300", "DM010100", "DO010000", "OD020500", "OM010000", "S0000000",
        "ST080010", "SW053003", "SW054000", "SM020200", "SC070101", "SC100101", "SC100102", "SC100202", "ST080000",
        "ST087634", "ST158020", "SW052021",
    ]
)
#: Apparel, in release notes of February 2024 and in no table.
PHYSICAL_LATER: Final = frozenset(["PC040128", "PC040133"])
PHYSICAL_BEFORE: Final = frozenset(
    [
        "4323.310_A", "4323.310_B", "4323.310_C", "4323.310_D", "4323.310_E", "51191905", "5124", "47", "50",
        "531316.150", "52141545.100", "4010.200", "4010.100", "40101609.100", "39101629.100", "52141506.100",
        "52141501.100", "52141601.100", "52141602.100", "52141505.100", "4321_S", "43211509", "42", "4512",
        "52161500_C", "52161500_B", "52161500_A", "601410", "531027", "49", "441216", "6010", "461815.100", "5510",
        "55101504.100", "55101506.100", "5216", "4321_A", "4321_C", "4321_B", "55101510", "55101509", "53121603",
        "531029.100", "531029.200",
    ]
)
DIGITAL_BEFORE: Final = frozenset(
    [
        "4512.100", "55111509.12", "55111512.100", "55111507.120", "55111506.120", "55111513.120", "55111502.120",
        "70.360", "81112201.121", "8111", "70.60", "70.100", "70.120", "81112201.120", "70.150", "811121",
        "81112201.420", "81112201.410", "81112201.200", "70.300", "70.280", "811118.100", "70.120_A", "70.220",
        "70.222", "81112105", "81112106", "4323.320_A", "4323.320_B", "4323.320_C", "4323.320_D", "95.210",
        "95.222", "95.220", "95.100", "95.212",
    ]
)
# fmt: on


def is_physical(tax_code: str | None) -> bool | None:
    """Whether goods of a tax code are physical; None for a code that is not documented."""
    if tax_code in PHYSICAL or tax_code in PHYSICAL_LATER or tax_code in PHYSICAL_BEFORE:
        return True
    return False if tax_code in DIGITAL or tax_code in DIGITAL_BEFORE else None
