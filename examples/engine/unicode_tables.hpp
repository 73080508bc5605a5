// What BERT's uncased tokenizers make of Unicode's characters, written by make_unicode_tables.py.
//
// Ranges of characters are the first one and the one after the last, each.
#pragma once

namespace engine {

// Blanks.
inline constexpr char32_t kSpaces[] = {0x9,    0xB,    0xD,    0xE,    0x20,   0x21,   0xA0,
                                       0xA1,   0x1680, 0x1681, 0x2000, 0x200B, 0x2028, 0x202A,
                                       0x202F, 0x2030, 0x205F, 0x2060, 0x3000, 0x3001};

// Controls, and marks above and below.
inline constexpr char32_t kDropped[] = {
    0x0,     0x9,     0xB,     0xD,     0xE,      0x20,    0x7F,    0xA0,    0xAD,    0xAE,
    0x300,   0x370,   0x483,   0x488,   0x591,    0x5BE,   0x5BF,   0x5C0,   0x5C1,   0x5C3,
    0x5C4,   0x5C6,   0x5C7,   0x5C8,   0x600,    0x606,   0x610,   0x61B,   0x61C,   0x61D,
    0x64B,   0x660,   0x670,   0x671,   0x6D6,    0x6DE,   0x6DF,   0x6E5,   0x6E7,   0x6E9,
    0x6EA,   0x6EE,   0x70F,   0x710,   0x711,    0x712,   0x730,   0x74B,   0x7A6,   0x7B1,
    0x7EB,   0x7F4,   0x816,   0x81A,   0x81B,    0x824,   0x825,   0x828,   0x829,   0x82E,
    0x859,   0x85C,   0x8E3,   0x903,   0x93A,    0x93B,   0x93C,   0x93D,   0x941,   0x949,
    0x94D,   0x94E,   0x951,   0x958,   0x962,    0x964,   0x981,   0x982,   0x9BC,   0x9BD,
    0x9C1,   0x9C5,   0x9CD,   0x9CE,   0x9E2,    0x9E4,   0xA01,   0xA03,   0xA3C,   0xA3D,
    0xA41,   0xA43,   0xA47,   0xA49,   0xA4B,    0xA4E,   0xA51,   0xA52,   0xA70,   0xA72,
    0xA75,   0xA76,   0xA81,   0xA83,   0xABC,    0xABD,   0xAC1,   0xAC6,   0xAC7,   0xAC9,
    0xACD,   0xACE,   0xAE2,   0xAE4,   0xB01,    0xB02,   0xB3C,   0xB3D,   0xB3F,   0xB40,
    0xB41,   0xB45,   0xB4D,   0xB4E,   0xB56,    0xB57,   0xB62,   0xB64,   0xB82,   0xB83,
    0xBC0,   0xBC1,   0xBCD,   0xBCE,   0xC00,    0xC01,   0xC3E,   0xC41,   0xC46,   0xC49,
    0xC4A,   0xC4E,   0xC55,   0xC57,   0xC62,    0xC64,   0xC81,   0xC82,   0xCBC,   0xCBD,
    0xCBF,   0xCC0,   0xCC6,   0xCC7,   0xCCC,    0xCCE,   0xCE2,   0xCE4,   0xD01,   0xD02,
    0xD41,   0xD45,   0xD4D,   0xD4E,   0xD62,    0xD64,   0xDCA,   0xDCB,   0xDD2,   0xDD5,
    0xDD6,   0xDD7,   0xE31,   0xE32,   0xE34,    0xE3B,   0xE47,   0xE4F,   0xEB1,   0xEB2,
    0xEB4,   0xEBA,   0xEBB,   0xEBD,   0xEC8,    0xECE,   0xF18,   0xF1A,   0xF35,   0xF36,
    0xF37,   0xF38,   0xF39,   0xF3A,   0xF71,    0xF7F,   0xF80,   0xF85,   0xF86,   0xF88,
    0xF8D,   0xF98,   0xF99,   0xFBD,   0xFC6,    0xFC7,   0x102D,  0x1031,  0x1032,  0x1038,
    0x1039,  0x103B,  0x103D,  0x103F,  0x1058,   0x105A,  0x105E,  0x1061,  0x1071,  0x1075,
    0x1082,  0x1083,  0x1085,  0x1087,  0x108D,   0x108E,  0x109D,  0x109E,  0x135D,  0x1360,
    0x1712,  0x1715,  0x1732,  0x1735,  0x1752,   0x1754,  0x1772,  0x1774,  0x17B4,  0x17B6,
    0x17B7,  0x17BE,  0x17C6,  0x17C7,  0x17C9,   0x17D4,  0x17DD,  0x17DE,  0x180B,  0x180F,
    0x18A9,  0x18AA,  0x1920,  0x1923,  0x1927,   0x1929,  0x1932,  0x1933,  0x1939,  0x193C,
    0x1A17,  0x1A19,  0x1A1B,  0x1A1C,  0x1A56,   0x1A57,  0x1A58,  0x1A5F,  0x1A60,  0x1A61,
    0x1A62,  0x1A63,  0x1A65,  0x1A6D,  0x1A73,   0x1A7D,  0x1A7F,  0x1A80,  0x1AB0,  0x1ABE,
    0x1B00,  0x1B04,  0x1B34,  0x1B35,  0x1B36,   0x1B3B,  0x1B3C,  0x1B3D,  0x1B42,  0x1B43,
    0x1B6B,  0x1B74,  0x1B80,  0x1B82,  0x1BA2,   0x1BA6,  0x1BA8,  0x1BAA,  0x1BAB,  0x1BAE,
    0x1BE6,  0x1BE7,  0x1BE8,  0x1BEA,  0x1BED,   0x1BEE,  0x1BEF,  0x1BF2,  0x1C2C,  0x1C34,
    0x1C36,  0x1C38,  0x1CD0,  0x1CD3,  0x1CD4,   0x1CE1,  0x1CE2,  0x1CE9,  0x1CED,  0x1CEE,
    0x1CF4,  0x1CF5,  0x1CF8,  0x1CFA,  0x1DC0,   0x1DF6,  0x1DFC,  0x1E00,  0x200B,  0x2010,
    0x202A,  0x202F,  0x2060,  0x2065,  0x2066,   0x2070,  0x20D0,  0x20DD,  0x20E1,  0x20E2,
    0x20E5,  0x20F1,  0x2CEF,  0x2CF2,  0x2D7F,   0x2D80,  0x2DE0,  0x2E00,  0x302A,  0x302E,
    0x3099,  0x309B,  0xA66F,  0xA670,  0xA674,   0xA67E,  0xA69E,  0xA6A0,  0xA6F0,  0xA6F2,
    0xA802,  0xA803,  0xA806,  0xA807,  0xA80B,   0xA80C,  0xA825,  0xA827,  0xA8C4,  0xA8C5,
    0xA8E0,  0xA8F2,  0xA926,  0xA92E,  0xA947,   0xA952,  0xA980,  0xA983,  0xA9B3,  0xA9B4,
    0xA9B6,  0xA9BA,  0xA9BC,  0xA9BD,  0xA9E5,   0xA9E6,  0xAA29,  0xAA2F,  0xAA31,  0xAA33,
    0xAA35,  0xAA37,  0xAA43,  0xAA44,  0xAA4C,   0xAA4D,  0xAA7C,  0xAA7D,  0xAAB0,  0xAAB1,
    0xAAB2,  0xAAB5,  0xAAB7,  0xAAB9,  0xAABE,   0xAAC0,  0xAAC1,  0xAAC2,  0xAAEC,  0xAAEE,
    0xAAF6,  0xAAF7,  0xABE5,  0xABE6,  0xABE8,   0xABE9,  0xABED,  0xABEE,  0xE000,  0xF900,
    0xFB1E,  0xFB1F,  0xFE00,  0xFE10,  0xFE20,   0xFE30,  0xFEFF,  0xFF00,  0xFFF9,  0xFFFC,
    0xFFFD,  0xFFFE,  0x101FD, 0x101FE, 0x102E0,  0x102E1, 0x10376, 0x1037B, 0x10A01, 0x10A04,
    0x10A05, 0x10A07, 0x10A0C, 0x10A10, 0x10A38,  0x10A3B, 0x10A3F, 0x10A40, 0x10AE5, 0x10AE7,
    0x11001, 0x11002, 0x11038, 0x11047, 0x1107F,  0x11082, 0x110B3, 0x110B7, 0x110B9, 0x110BB,
    0x110BD, 0x110BE, 0x11100, 0x11103, 0x11127,  0x1112C, 0x1112D, 0x11135, 0x11173, 0x11174,
    0x11180, 0x11182, 0x111B6, 0x111BF, 0x111CA,  0x111CD, 0x1122F, 0x11232, 0x11234, 0x11235,
    0x11236, 0x11238, 0x112DF, 0x112E0, 0x112E3,  0x112EB, 0x11300, 0x11302, 0x1133C, 0x1133D,
    0x11340, 0x11341, 0x11366, 0x1136D, 0x11370,  0x11375, 0x114B3, 0x114B9, 0x114BA, 0x114BB,
    0x114BF, 0x114C1, 0x114C2, 0x114C4, 0x115B2,  0x115B6, 0x115BC, 0x115BE, 0x115BF, 0x115C1,
    0x115DC, 0x115DE, 0x11633, 0x1163B, 0x1163D,  0x1163E, 0x1163F, 0x11641, 0x116AB, 0x116AC,
    0x116AD, 0x116AE, 0x116B0, 0x116B6, 0x116B7,  0x116B8, 0x1171D, 0x11720, 0x11722, 0x11726,
    0x11727, 0x1172C, 0x16AF0, 0x16AF5, 0x16B30,  0x16B37, 0x16F8F, 0x16F93, 0x1BC9D, 0x1BC9F,
    0x1BCA0, 0x1BCA4, 0x1D167, 0x1D16A, 0x1D173,  0x1D183, 0x1D185, 0x1D18C, 0x1D1AA, 0x1D1AE,
    0x1D242, 0x1D245, 0x1DA00, 0x1DA37, 0x1DA3B,  0x1DA6D, 0x1DA75, 0x1DA76, 0x1DA84, 0x1DA85,
    0x1DA9B, 0x1DAA0, 0x1DAA1, 0x1DAB0, 0x1E8D0,  0x1E8D7, 0xE0001, 0xE0002, 0xE0020, 0xE0080,
    0xE0100, 0xE01F0, 0xF0000, 0xFFFFE, 0x100000, 0x10FFFE};

// Punctuation marks and ideographs: words by themselves.
inline constexpr char32_t kAlone[] = {
    0x21,    0x30,    0x3A,    0x41,    0x5B,    0x61,    0x7B,    0x7F,    0xA1,    0xA2,
    0xA7,    0xA8,    0xAB,    0xAC,    0xB6,    0xB8,    0xBB,    0xBC,    0xBF,    0xC0,
    0x37E,   0x37F,   0x387,   0x388,   0x55A,   0x560,   0x589,   0x58B,   0x5BE,   0x5BF,
    0x5C0,   0x5C1,   0x5C3,   0x5C4,   0x5C6,   0x5C7,   0x5F3,   0x5F5,   0x609,   0x60B,
    0x60C,   0x60E,   0x61B,   0x61C,   0x61E,   0x620,   0x66A,   0x66E,   0x6D4,   0x6D5,
    0x700,   0x70E,   0x7F7,   0x7FA,   0x830,   0x83F,   0x85E,   0x85F,   0x964,   0x966,
    0x970,   0x971,   0xAF0,   0xAF1,   0xDF4,   0xDF5,   0xE4F,   0xE50,   0xE5A,   0xE5C,
    0xF04,   0xF13,   0xF14,   0xF15,   0xF3A,   0xF3E,   0xF85,   0xF86,   0xFD0,   0xFD5,
    0xFD9,   0xFDB,   0x104A,  0x1050,  0x10FB,  0x10FC,  0x1360,  0x1369,  0x1400,  0x1401,
    0x166D,  0x166F,  0x169B,  0x169D,  0x16EB,  0x16EE,  0x1735,  0x1737,  0x17D4,  0x17D7,
    0x17D8,  0x17DB,  0x1800,  0x180B,  0x1944,  0x1946,  0x1A1E,  0x1A20,  0x1AA0,  0x1AA7,
    0x1AA8,  0x1AAE,  0x1B5A,  0x1B61,  0x1BFC,  0x1C00,  0x1C3B,  0x1C40,  0x1C7E,  0x1C80,
    0x1CC0,  0x1CC8,  0x1CD3,  0x1CD4,  0x2010,  0x2028,  0x2030,  0x2044,  0x2045,  0x2052,
    0x2053,  0x205F,  0x207D,  0x207F,  0x208D,  0x208F,  0x2308,  0x230C,  0x2329,  0x232B,
    0x2768,  0x2776,  0x27C5,  0x27C7,  0x27E6,  0x27F0,  0x2983,  0x2999,  0x29D8,  0x29DC,
    0x29FC,  0x29FE,  0x2CF9,  0x2CFD,  0x2CFE,  0x2D00,  0x2D70,  0x2D71,  0x2E00,  0x2E2F,
    0x2E30,  0x2E43,  0x3001,  0x3004,  0x3008,  0x3012,  0x3014,  0x3020,  0x3030,  0x3031,
    0x303D,  0x303E,  0x30A0,  0x30A1,  0x30FB,  0x30FC,  0x3400,  0x4DC0,  0x4E00,  0xA000,
    0xA4FE,  0xA500,  0xA60D,  0xA610,  0xA673,  0xA674,  0xA67E,  0xA67F,  0xA6F2,  0xA6F8,
    0xA874,  0xA878,  0xA8CE,  0xA8D0,  0xA8F8,  0xA8FB,  0xA8FC,  0xA8FD,  0xA92E,  0xA930,
    0xA95F,  0xA960,  0xA9C1,  0xA9CE,  0xA9DE,  0xA9E0,  0xAA5C,  0xAA60,  0xAADE,  0xAAE0,
    0xAAF0,  0xAAF2,  0xABEB,  0xABEC,  0xF900,  0xFB00,  0xFD3E,  0xFD40,  0xFE10,  0xFE1A,
    0xFE30,  0xFE53,  0xFE54,  0xFE62,  0xFE63,  0xFE64,  0xFE68,  0xFE69,  0xFE6A,  0xFE6C,
    0xFF01,  0xFF04,  0xFF05,  0xFF0B,  0xFF0C,  0xFF10,  0xFF1A,  0xFF1C,  0xFF1F,  0xFF21,
    0xFF3B,  0xFF3E,  0xFF3F,  0xFF40,  0xFF5B,  0xFF5C,  0xFF5D,  0xFF5E,  0xFF5F,  0xFF66,
    0x10100, 0x10103, 0x1039F, 0x103A0, 0x103D0, 0x103D1, 0x1056F, 0x10570, 0x10857, 0x10858,
    0x1091F, 0x10920, 0x1093F, 0x10940, 0x10A50, 0x10A59, 0x10A7F, 0x10A80, 0x10AF0, 0x10AF7,
    0x10B39, 0x10B40, 0x10B99, 0x10B9D, 0x11047, 0x1104E, 0x110BB, 0x110BD, 0x110BE, 0x110C2,
    0x11140, 0x11144, 0x11174, 0x11176, 0x111C5, 0x111CA, 0x111CD, 0x111CE, 0x111DB, 0x111DC,
    0x111DD, 0x111E0, 0x11238, 0x1123E, 0x112A9, 0x112AA, 0x114C6, 0x114C7, 0x115C1, 0x115D8,
    0x11641, 0x11644, 0x1173C, 0x1173F, 0x12470, 0x12475, 0x16A6E, 0x16A70, 0x16AF5, 0x16AF6,
    0x16B37, 0x16B3C, 0x16B44, 0x16B45, 0x1BC9F, 0x1BCA0, 0x1DA87, 0x1DA8C, 0x20000, 0x2A6E0,
    0x2A700, 0x2B820, 0x2B920, 0x2CEB0, 0x2F800, 0x2FA20};

// A character, then its lower case without marks.
inline constexpr char kFolds[] =
    "Aa Bb Cc Dd Ee Ff Gg Hh Ii Jj Kk Ll Mm Nn Oo Pp Qq Rr Ss Tt Uu Vv Ww Xx Yy Zz Àa Áa Âa Ãa Äa "
    "Åa Ææ Çc Èe Ée Êe Ëe Ìi Íi Îi Ïi Ðð Ñn Òo Óo Ôo Õo Öo Øø Ùu Úu Ûu Üu Ýy Þþ àa áa âa ãa äa åa "
    "çc èe ée êe ëe ìi íi îi ïi ñn òo óo ôo õo öo ùu úu ûu üu ýy ÿy Āa āa Ăa ăa Ąa ąa Ćc ćc Ĉc ĉc "
    "Ċc ċc Čc čc Ďd ďd Đđ Ēe ēe Ĕe ĕe Ėe ėe Ęe ęe Ěe ěe Ĝg ĝg Ğg ğg Ġg ġg Ģg ģg Ĥh ĥh Ħħ Ĩi ĩi Īi "
    "īi Ĭi ĭi Įi įi İi Ĳĳ Ĵj ĵj Ķk ķk Ĺl ĺl Ļl ļl Ľl ľl Ŀŀ Łł Ńn ńn Ņn ņn Ňn ňn Ŋŋ Ōo ōo Ŏo ŏo Őo "
    "őo Œœ Ŕr ŕr Ŗr ŗr Řr řr Śs śs Ŝs ŝs Şs şs Šs šs Ţt ţt Ťt ťt Ŧŧ Ũu ũu Ūu ūu Ŭu ŭu Ůu ůu Űu űu "
    "Ųu ųu Ŵw ŵw Ŷy ŷy Ÿy Źz źz Żz żz Žz žz Ɓɓ Ƃƃ Ƅƅ Ɔɔ Ƈƈ Ɖɖ Ɗɗ Ƌƌ Ǝǝ Əə Ɛɛ Ƒƒ Ɠɠ Ɣɣ Ɩɩ Ɨɨ Ƙƙ Ɯɯ "
    "Ɲɲ Ɵɵ Ơo ơo Ƣƣ Ƥƥ Ʀʀ Ƨƨ Ʃʃ Ƭƭ Ʈʈ Ưu ưu Ʊʊ Ʋʋ Ƴƴ Ƶƶ Ʒʒ Ƹƹ Ƽƽ Ǆǆ ǅǆ Ǉǉ ǈǉ Ǌǌ ǋǌ Ǎa ǎa Ǐi ǐi Ǒo "
    "ǒo Ǔu ǔu Ǖu ǖu Ǘu ǘu Ǚu ǚu Ǜu ǜu Ǟa ǟa Ǡa ǡa Ǣæ ǣæ Ǥǥ Ǧg ǧg Ǩk ǩk Ǫo ǫo Ǭo ǭo Ǯʒ ǯʒ ǰj Ǳǳ ǲǳ "
    "Ǵg ǵg Ƕƕ Ƿƿ Ǹn ǹn Ǻa ǻa Ǽæ ǽæ Ǿø ǿø Ȁa ȁa Ȃa ȃa Ȅe ȅe Ȇe ȇe Ȉi ȉi Ȋi ȋi Ȍo ȍo Ȏo ȏo Ȑr ȑr Ȓr "
    "ȓr Ȕu ȕu Ȗu ȗu Șs șs Țt țt Ȝȝ Ȟh ȟh Ƞƞ Ȣȣ Ȥȥ Ȧa ȧa Ȩe ȩe Ȫo ȫo Ȭo ȭo Ȯo ȯo Ȱo ȱo Ȳy ȳy Ⱥⱥ Ȼȼ "
    "Ƚƚ Ⱦⱦ Ɂɂ Ƀƀ Ʉʉ Ʌʌ Ɇɇ Ɉɉ Ɋɋ Ɍɍ Ɏɏ Ͱͱ Ͳͳ \u0374ʹ Ͷͷ \u037E; Ϳϳ \u0385\u00A8 Άα \u0387\u00B7 Έε "
    "Ήη Ίι Όο Ύυ Ώω ΐι Αα Ββ Γγ Δδ Εε Ζζ Ηη Θθ Ιι Κκ Λλ Μμ Νν Ξξ Οο Ππ Ρρ Σσ Ττ Υυ Φφ Χχ Ψψ Ωω Ϊι "
    "Ϋυ άα έε ήη ίι ΰυ ϊι ϋυ όο ύυ ώω Ϗϗ ϓϒ ϔϒ Ϙϙ Ϛϛ Ϝϝ Ϟϟ Ϡϡ Ϣϣ Ϥϥ Ϧϧ Ϩϩ Ϫϫ Ϭϭ Ϯϯ ϴθ Ϸϸ Ϲϲ Ϻϻ Ͻͻ "
    "Ͼͼ Ͽͽ Ѐе Ёе Ђђ Ѓг Єє Ѕѕ Іі Їі Јј Љљ Њњ Ћћ Ќк Ѝи Ўу Џџ Аа Бб Вв Гг Дд Ее Жж Зз Ии Йи Кк Лл Мм "
    "Нн Оо Пп Рр Сс Тт Уу Фф Хх Цц Чч Шш Щщ Ъъ Ыы Ьь Ээ Юю Яя йи ѐе ёе ѓг їі ќк ѝи ўу Ѡѡ Ѣѣ Ѥѥ Ѧѧ "
    "Ѩѩ Ѫѫ Ѭѭ Ѯѯ Ѱѱ Ѳѳ Ѵѵ Ѷѵ ѷѵ Ѹѹ Ѻѻ Ѽѽ Ѿѿ Ҁҁ Ҋҋ Ҍҍ Ҏҏ Ґґ Ғғ Ҕҕ Җҗ Ҙҙ Ққ Ҝҝ Ҟҟ Ҡҡ Ңң Ҥҥ Ҧҧ Ҩҩ Ҫҫ "
    "Ҭҭ Үү Ұұ Ҳҳ Ҵҵ Ҷҷ Ҹҹ Һһ Ҽҽ Ҿҿ Ӏӏ Ӂж ӂж Ӄӄ Ӆӆ Ӈӈ Ӊӊ Ӌӌ Ӎӎ Ӑа ӑа Ӓа ӓа Ӕӕ Ӗе ӗе Әә Ӛә ӛә Ӝж ӝж "
    "Ӟз ӟз Ӡӡ Ӣи ӣи Ӥи ӥи Ӧо ӧо Өө Ӫө ӫө Ӭэ ӭэ Ӯу ӯу Ӱу ӱу Ӳу ӳу Ӵч ӵч Ӷӷ Ӹы ӹы Ӻӻ Ӽӽ Ӿӿ Ԁԁ Ԃԃ Ԅԅ "
    "Ԇԇ Ԉԉ Ԋԋ Ԍԍ Ԏԏ Ԑԑ Ԓԓ Ԕԕ Ԗԗ Ԙԙ Ԛԛ Ԝԝ Ԟԟ Ԡԡ Ԣԣ Ԥԥ Ԧԧ Ԩԩ Ԫԫ Ԭԭ Ԯԯ Աա Բբ Գգ Դդ Եե Զզ Էէ Ըը Թթ Ժժ "
    "Իի Լլ Խխ Ծծ Կկ Հհ Ձձ Ղղ Ճճ Մմ Յյ Նն Շշ Ոո Չչ Պպ Ջջ Ռռ Սս Վվ Տտ Րր Ցց Ււ Փփ Քք Օօ Ֆֆ آا أا ؤو "
    "إا ئي ۀە ۂہ ۓے ऩन ऱर ऴळ \u0958क \u0959ख \u095Aग \u095Bज \u095Cड \u095Dढ \u095Eफ \u095Fय "
    "\u09CB\u09C7\u09BE \u09CC\u09C7\u09D7 \u09DCড \u09DDঢ \u09DFয \u0A33ਲ \u0A36ਸ \u0A59ਖ \u0A5Aਗ "
    "\u0A5Bਜ \u0A5Eਫ \u0B48\u0B47 \u0B4B\u0B47\u0B3E \u0B4C\u0B47\u0B57 \u0B5Cଡ \u0B5Dଢ ஔஒ\u0BD7 "
    "\u0BCA\u0BC6\u0BBE \u0BCB\u0BC7\u0BBE \u0BCC\u0BC6\u0BD7 \u0CC0\u0CD5 \u0CC7\u0CD5 "
    "\u0CC8\u0CD6 \u0CCA\u0CC2 \u0CCB\u0CC2\u0CD5 \u0D4A\u0D46\u0D3E \u0D4B\u0D47\u0D3E "
    "\u0D4C\u0D46\u0D57 \u0DDA\u0DD9 \u0DDC\u0DD9\u0DCF \u0DDD\u0DD9\u0DCF \u0DDE\u0DD9\u0DDF "
    "\u0F43ག \u0F4Dཌ \u0F52ད \u0F57བ \u0F5Cཛ \u0F69ཀ ဦဥ Ⴀⴀ Ⴁⴁ Ⴂⴂ Ⴃⴃ Ⴄⴄ Ⴅⴅ Ⴆⴆ Ⴇⴇ Ⴈⴈ Ⴉⴉ Ⴊⴊ Ⴋⴋ Ⴌⴌ Ⴍⴍ "
    "Ⴎⴎ Ⴏⴏ Ⴐⴐ Ⴑⴑ Ⴒⴒ Ⴓⴓ Ⴔⴔ Ⴕⴕ Ⴖⴖ Ⴗⴗ Ⴘⴘ Ⴙⴙ Ⴚⴚ Ⴛⴛ Ⴜⴜ Ⴝⴝ Ⴞⴞ Ⴟⴟ Ⴠⴠ Ⴡⴡ Ⴢⴢ Ⴣⴣ Ⴤⴤ Ⴥⴥ Ⴧⴧ Ⴭⴭ Ꭰꭰ Ꭱꭱ Ꭲꭲ Ꭳꭳ Ꭴꭴ "
    "Ꭵꭵ Ꭶꭶ Ꭷꭷ Ꭸꭸ Ꭹꭹ Ꭺꭺ Ꭻꭻ Ꭼꭼ Ꭽꭽ Ꭾꭾ Ꭿꭿ Ꮀꮀ Ꮁꮁ Ꮂꮂ Ꮃꮃ Ꮄꮄ Ꮅꮅ Ꮆꮆ Ꮇꮇ Ꮈꮈ Ꮉꮉ Ꮊꮊ Ꮋꮋ Ꮌꮌ Ꮍꮍ Ꮎꮎ Ꮏꮏ Ꮐꮐ Ꮑꮑ Ꮒꮒ Ꮓꮓ "
    "Ꮔꮔ Ꮕꮕ Ꮖꮖ Ꮗꮗ Ꮘꮘ Ꮙꮙ Ꮚꮚ Ꮛꮛ Ꮜꮜ Ꮝꮝ Ꮞꮞ Ꮟꮟ Ꮠꮠ Ꮡꮡ Ꮢꮢ Ꮣꮣ Ꮤꮤ Ꮥꮥ Ꮦꮦ Ꮧꮧ Ꮨꮨ Ꮩꮩ Ꮪꮪ Ꮫꮫ Ꮬꮬ Ꮭꮭ Ꮮꮮ Ꮯꮯ Ꮰꮰ Ꮱꮱ Ꮲꮲ "
    "Ꮳꮳ Ꮴꮴ Ꮵꮵ Ꮶꮶ Ꮷꮷ Ꮸꮸ Ꮹꮹ Ꮺꮺ Ꮻꮻ Ꮼꮼ Ꮽꮽ Ꮾꮾ Ꮿꮿ Ᏸᏸ Ᏹᏹ Ᏺᏺ Ᏻᏻ Ᏼᏼ Ᏽᏽ ᬆᬅ\u1B35 ᬈᬇ\u1B35 ᬊᬉ\u1B35 ᬌᬋ\u1B35 "
    "ᬎᬍ\u1B35 ᬒᬑ\u1B35 \u1B3B\u1B35 \u1B3D\u1B35 \u1B40\u1B3E\u1B35 \u1B41\u1B3F\u1B35 "
    "\u1B43\u1B35 \u1C89\u1C8A Აა Ბბ Გგ Დდ Ეე Ვვ Ზზ Თთ Იი Კკ Ლლ Მმ Ნნ Ოო Პპ Ჟჟ Რრ Სს Ტტ Უუ Ფფ Ქქ "
    "Ღღ Ყყ Შშ Ჩჩ Ცც Ძძ Წწ Ჭჭ Ხხ Ჯჯ Ჰჰ Ჱჱ Ჲჲ Ჳჳ Ჴჴ Ჵჵ Ჶჶ Ჷჷ Ჸჸ Ჹჹ Ჺჺ Ჽჽ Ჾჾ Ჿჿ Ḁa ḁa Ḃb ḃb Ḅb ḅb Ḇb "
    "ḇb Ḉc ḉc Ḋd ḋd Ḍd ḍd Ḏd ḏd Ḑd ḑd Ḓd ḓd Ḕe ḕe Ḗe ḗe Ḙe ḙe Ḛe ḛe Ḝe ḝe Ḟf ḟf Ḡg ḡg Ḣh ḣh Ḥh ḥh "
    "Ḧh ḧh Ḩh ḩh Ḫh ḫh Ḭi ḭi Ḯi ḯi Ḱk ḱk Ḳk ḳk Ḵk ḵk Ḷl ḷl Ḹl ḹl Ḻl ḻl Ḽl ḽl Ḿm ḿm Ṁm ṁm Ṃm ṃm Ṅn "
    "ṅn Ṇn ṇn Ṉn ṉn Ṋn ṋn Ṍo ṍo Ṏo ṏo Ṑo ṑo Ṓo ṓo Ṕp ṕp Ṗp ṗp Ṙr ṙr Ṛr ṛr Ṝr ṝr Ṟr ṟr Ṡs ṡs Ṣs ṣs "
    "Ṥs ṥs Ṧs ṧs Ṩs ṩs Ṫt ṫt Ṭt ṭt Ṯt ṯt Ṱt ṱt Ṳu ṳu Ṵu ṵu Ṷu ṷu Ṹu ṹu Ṻu ṻu Ṽv ṽv Ṿv ṿv Ẁw ẁw Ẃw "
    "ẃw Ẅw ẅw Ẇw ẇw Ẉw ẉw Ẋx ẋx Ẍx ẍx Ẏy ẏy Ẑz ẑz Ẓz ẓz Ẕz ẕz ẖh ẗt ẘw ẙy ẛſ ẞß Ạa ạa Ảa ảa Ấa ấa "
    "Ầa ầa Ẩa ẩa Ẫa ẫa Ậa ậa Ắa ắa Ằa ằa Ẳa ẳa Ẵa ẵa Ặa ặa Ẹe ẹe Ẻe ẻe Ẽe ẽe Ếe ếe Ềe ềe Ểe ểe Ễe "
    "ễe Ệe ệe Ỉi ỉi Ịi ịi Ọo ọo Ỏo ỏo Ốo ốo Ồo ồo Ổo ổo Ỗo ỗo Ộo ộo Ớo ớo Ờo ờo Ởo ởo Ỡo ỡo Ợo ợo "
    "Ụu ụu Ủu ủu Ứu ứu Ừu ừu Ửu ửu Ữu ữu Ựu ựu Ỳy ỳy Ỵy ỵy Ỷy ỷy Ỹy ỹy Ỻỻ Ỽỽ Ỿỿ ἀα ἁα ἂα ἃα ἄα ἅα "
    "ἆα ἇα Ἀα Ἁα Ἂα Ἃα Ἄα Ἅα Ἆα Ἇα ἐε ἑε ἒε ἓε ἔε ἕε Ἐε Ἑε Ἒε Ἓε Ἔε Ἕε ἠη ἡη ἢη ἣη ἤη ἥη ἦη ἧη Ἠη "
    "Ἡη Ἢη Ἣη Ἤη Ἥη Ἦη Ἧη ἰι ἱι ἲι ἳι ἴι ἵι ἶι ἷι Ἰι Ἱι Ἲι Ἳι Ἴι Ἵι Ἶι Ἷι ὀο ὁο ὂο ὃο ὄο ὅο Ὀο Ὁο "
    "Ὂο Ὃο Ὄο Ὅο ὐυ ὑυ ὒυ ὓυ ὔυ ὕυ ὖυ ὗυ Ὑυ Ὓυ Ὕυ Ὗυ ὠω ὡω ὢω ὣω ὤω ὥω ὦω ὧω Ὠω Ὡω Ὢω Ὣω Ὤω Ὥω Ὦω "
    "Ὧω ὰα \u1F71α ὲε \u1F73ε ὴη \u1F75η ὶι \u1F77ι ὸο \u1F79ο ὺυ \u1F7Bυ ὼω \u1F7Dω ᾀα ᾁα ᾂα ᾃα "
    "ᾄα ᾅα ᾆα ᾇα ᾈα ᾉα ᾊα ᾋα ᾌα ᾍα ᾎα ᾏα ᾐη ᾑη ᾒη ᾓη ᾔη ᾕη ᾖη ᾗη ᾘη ᾙη ᾚη ᾛη ᾜη ᾝη ᾞη ᾟη ᾠω ᾡω ᾢω "
    "ᾣω ᾤω ᾥω ᾦω ᾧω ᾨω ᾩω ᾪω ᾫω ᾬω ᾭω ᾮω ᾯω ᾰα ᾱα ᾲα ᾳα ᾴα ᾶα ᾷα Ᾰα Ᾱα Ὰα \u1FBBα ᾼα \u1FBEι "
    "\u1FC1\u00A8 ῂη ῃη ῄη ῆη ῇη Ὲε \u1FC9ε Ὴη \u1FCBη ῌη \u1FCD\u1FBF \u1FCE\u1FBF \u1FCF\u1FBF "
    "ῐι ῑι ῒι \u1FD3ι ῖι ῗι Ῐι Ῑι Ὶι \u1FDBι \u1FDD\u1FFE \u1FDE\u1FFE \u1FDF\u1FFE ῠυ ῡυ ῢυ "
    "\u1FE3υ ῤρ ῥρ ῦυ ῧυ Ῠυ Ῡυ Ὺυ \u1FEBυ Ῥρ \u1FED\u00A8 \u1FEE\u00A8 \u1FEF` ῲω ῳω ῴω ῶω ῷω Ὸο "
    "\u1FF9ο Ὼω \u1FFBω ῼω \u1FFD\u00B4 \u2126ω \u212Ak \u212Ba Ⅎⅎ \u2160\u2170 \u2161\u2171 "
    "\u2162\u2172 \u2163\u2173 \u2164\u2174 \u2165\u2175 \u2166\u2176 \u2167\u2177 \u2168\u2178 "
    "\u2169\u2179 \u216A\u217A \u216B\u217B \u216C\u217C \u216D\u217D \u216E\u217E \u216F\u217F Ↄↄ "
    "\u219A\u2190 \u219B\u2192 \u21AE\u2194 \u21CD\u21D0 \u21CE\u21D4 \u21CF\u21D2 \u2204\u2203 "
    "\u2209\u2208 \u220C\u220B \u2224\u2223 \u2226\u2225 \u2241\u223C \u2244\u2243 \u2247\u2245 "
    "\u2249\u2248 \u2260\u003D \u2262\u2261 \u226D\u224D \u226E\u003C \u226F\u003E \u2270\u2264 "
    "\u2271\u2265 \u2274\u2272 \u2275\u2273 \u2278\u2276 \u2279\u2277 \u2280\u227A \u2281\u227B "
    "\u2284\u2282 \u2285\u2283 \u2288\u2286 \u2289\u2287 \u22AC\u22A2 \u22AD\u22A8 \u22AE\u22A9 "
    "\u22AF\u22AB \u22E0\u227C \u22E1\u227D \u22E2\u2291 \u22E3\u2292 \u22EA\u22B2 \u22EB\u22B3 "
    "\u22EC\u22B4 \u22ED\u22B5 \u2329\u3008 \u232A\u3009 \u24B6\u24D0 \u24B7\u24D1 \u24B8\u24D2 "
    "\u24B9\u24D3 \u24BA\u24D4 \u24BB\u24D5 \u24BC\u24D6 \u24BD\u24D7 \u24BE\u24D8 \u24BF\u24D9 "
    "\u24C0\u24DA \u24C1\u24DB \u24C2\u24DC \u24C3\u24DD \u24C4\u24DE \u24C5\u24DF \u24C6\u24E0 "
    "\u24C7\u24E1 \u24C8\u24E2 \u24C9\u24E3 \u24CA\u24E4 \u24CB\u24E5 \u24CC\u24E6 \u24CD\u24E7 "
    "\u24CE\u24E8 \u24CF\u24E9 \u2ADC\u2ADD Ⰰⰰ Ⰱⰱ Ⰲⰲ Ⰳⰳ Ⰴⰴ Ⰵⰵ Ⰶⰶ Ⰷⰷ Ⰸⰸ Ⰹⰹ Ⰺⰺ Ⰻⰻ Ⰼⰼ Ⰽⰽ Ⰾⰾ Ⰿⰿ Ⱀⱀ Ⱁⱁ "
    "Ⱂⱂ Ⱃⱃ Ⱄⱄ Ⱅⱅ Ⱆⱆ Ⱇⱇ Ⱈⱈ Ⱉⱉ Ⱊⱊ Ⱋⱋ Ⱌⱌ Ⱍⱍ Ⱎⱎ Ⱏⱏ Ⱐⱐ Ⱑⱑ Ⱒⱒ Ⱓⱓ Ⱔⱔ Ⱕⱕ Ⱖⱖ Ⱗⱗ Ⱘⱘ Ⱙⱙ Ⱚⱚ Ⱛⱛ Ⱜⱜ Ⱝⱝ Ⱞⱞ Ⱟⱟ Ⱡⱡ "
    "Ɫɫ Ᵽᵽ Ɽɽ Ⱨⱨ Ⱪⱪ Ⱬⱬ Ɑɑ Ɱɱ Ɐɐ Ɒɒ Ⱳⱳ Ⱶⱶ Ȿȿ Ɀɀ Ⲁⲁ Ⲃⲃ Ⲅⲅ Ⲇⲇ Ⲉⲉ Ⲋⲋ Ⲍⲍ Ⲏⲏ Ⲑⲑ Ⲓⲓ Ⲕⲕ Ⲗⲗ Ⲙⲙ Ⲛⲛ Ⲝⲝ Ⲟⲟ Ⲡⲡ "
    "Ⲣⲣ Ⲥⲥ Ⲧⲧ Ⲩⲩ Ⲫⲫ Ⲭⲭ Ⲯⲯ Ⲱⲱ Ⲳⲳ Ⲵⲵ Ⲷⲷ Ⲹⲹ Ⲻⲻ Ⲽⲽ Ⲿⲿ Ⳁⳁ Ⳃⳃ Ⳅⳅ Ⳇⳇ Ⳉⳉ Ⳋⳋ Ⳍⳍ Ⳏⳏ Ⳑⳑ Ⳓⳓ Ⳕⳕ Ⳗⳗ Ⳙⳙ Ⳛⳛ Ⳝⳝ Ⳟⳟ "
    "Ⳡⳡ Ⳣⳣ Ⳬⳬ Ⳮⳮ Ⳳⳳ がか ぎき ぐく げけ ごこ ざさ じし ずす ぜせ ぞそ だた ぢち づつ でて どと "
    "ばは ぱは びひ ぴひ ぶふ ぷふ べへ ぺへ ぼほ ぽほ ゔう ゞゝ ガカ ギキ グク ゲケ ゴコ ザサ "
    "ジシ ズス ゼセ ゾソ ダタ ヂチ ヅツ デテ ドト バハ パハ ビヒ ピヒ ブフ プフ ベヘ ペヘ ボホ "
    "ポホ ヴウ ヷワ ヸヰ ヹヱ ヺヲ ヾヽ Ꙁꙁ Ꙃꙃ Ꙅꙅ Ꙇꙇ Ꙉꙉ Ꙋꙋ Ꙍꙍ Ꙏꙏ Ꙑꙑ Ꙓꙓ Ꙕꙕ Ꙗꙗ Ꙙꙙ Ꙛꙛ Ꙝꙝ Ꙟꙟ Ꙡꙡ Ꙣꙣ Ꙥꙥ "
    "Ꙧꙧ Ꙩꙩ Ꙫꙫ Ꙭꙭ Ꚁꚁ Ꚃꚃ Ꚅꚅ Ꚇꚇ Ꚉꚉ Ꚋꚋ Ꚍꚍ Ꚏꚏ Ꚑꚑ Ꚓꚓ Ꚕꚕ Ꚗꚗ Ꚙꚙ Ꚛꚛ Ꜣꜣ Ꜥꜥ Ꜧꜧ Ꜩꜩ Ꜫꜫ Ꜭꜭ Ꜯꜯ Ꜳꜳ Ꜵꜵ Ꜷꜷ Ꜹꜹ Ꜻꜻ Ꜽꜽ "
    "Ꜿꜿ Ꝁꝁ Ꝃꝃ Ꝅꝅ Ꝇꝇ Ꝉꝉ Ꝋꝋ Ꝍꝍ Ꝏꝏ Ꝑꝑ Ꝓꝓ Ꝕꝕ Ꝗꝗ Ꝙꝙ Ꝛꝛ Ꝝꝝ Ꝟꝟ Ꝡꝡ Ꝣꝣ Ꝥꝥ Ꝧꝧ Ꝩꝩ Ꝫꝫ Ꝭꝭ Ꝯꝯ Ꝺꝺ Ꝼꝼ Ᵹᵹ Ꝿꝿ Ꞁꞁ Ꞃꞃ "
    "Ꞅꞅ Ꞇꞇ Ꞌꞌ Ɥɥ Ꞑꞑ Ꞓꞓ Ꞗꞗ Ꞙꞙ Ꞛꞛ Ꞝꞝ Ꞟꞟ Ꞡꞡ Ꞣꞣ Ꞥꞥ Ꞧꞧ Ꞩꞩ Ɦɦ Ɜɜ Ɡɡ Ɬɬ Ɪɪ Ʞʞ Ʇʇ Ʝʝ Ꭓꭓ Ꞵꞵ Ꞷꞷ Ꞹꞹ Ꞻꞻ Ꞽꞽ Ꞿꞿ "
    "Ꟁꟁ Ꟃꟃ Ꞔꞔ Ʂʂ Ᶎᶎ Ꟈꟈ Ꟊꟊ \uA7CBɤ \uA7CC\uA7CD \uA7CE\uA7CF Ꟑꟑ \uA7D2ꟓ \uA7D4ꟕ Ꟗꟗ Ꟙꟙ \uA7DA\uA7DB "
    "\uA7DCƛ Ꟶꟶ \uF900豈 \uF901更 \uF902車 \uF903賈 \uF904滑 \uF905串 \uF906句 \uF907龜 \uF908龜 "
    "\uF909契 \uF90A金 \uF90B喇 \uF90C奈 \uF90D懶 \uF90E癩 \uF90F羅 \uF910蘿 \uF911螺 \uF912裸 "
    "\uF913邏 \uF914樂 \uF915洛 \uF916烙 \uF917珞 \uF918落 \uF919酪 \uF91A駱 \uF91B亂 \uF91C卵 "
    "\uF91D欄 \uF91E爛 \uF91F蘭 \uF920鸞 \uF921嵐 \uF922濫 \uF923藍 \uF924襤 \uF925拉 \uF926臘 "
    "\uF927蠟 \uF928廊 \uF929朗 \uF92A浪 \uF92B狼 \uF92C郎 \uF92D來 \uF92E冷 \uF92F勞 \uF930擄 "
    "\uF931櫓 \uF932爐 \uF933盧 \uF934老 \uF935蘆 \uF936虜 \uF937路 \uF938露 \uF939魯 \uF93A鷺 "
    "\uF93B碌 \uF93C祿 \uF93D綠 \uF93E菉 \uF93F錄 \uF940鹿 \uF941論 \uF942壟 \uF943弄 \uF944籠 "
    "\uF945聾 \uF946牢 \uF947磊 \uF948賂 \uF949雷 \uF94A壘 \uF94B屢 \uF94C樓 \uF94D淚 \uF94E漏 "
    "\uF94F累 \uF950縷 \uF951陋 \uF952勒 \uF953肋 \uF954凜 \uF955凌 \uF956稜 \uF957綾 \uF958菱 "
    "\uF959陵 \uF95A讀 \uF95B拏 \uF95C樂 \uF95D諾 \uF95E丹 \uF95F寧 \uF960怒 \uF961率 \uF962異 "
    "\uF963北 \uF964磻 \uF965便 \uF966復 \uF967不 \uF968泌 \uF969數 \uF96A索 \uF96B參 \uF96C塞 "
    "\uF96D省 \uF96E葉 \uF96F說 \uF970殺 \uF971辰 \uF972沈 \uF973拾 \uF974若 \uF975掠 \uF976略 "
    "\uF977亮 \uF978兩 \uF979凉 \uF97A梁 \uF97B糧 \uF97C良 \uF97D諒 \uF97E量 \uF97F勵 \uF980呂 "
    "\uF981女 \uF982廬 \uF983旅 \uF984濾 \uF985礪 \uF986閭 \uF987驪 \uF988麗 \uF989黎 \uF98A力 "
    "\uF98B曆 \uF98C歷 \uF98D轢 \uF98E年 \uF98F憐 \uF990戀 \uF991撚 \uF992漣 \uF993煉 \uF994璉 "
    "\uF995秊 \uF996練 \uF997聯 \uF998輦 \uF999蓮 \uF99A連 \uF99B鍊 \uF99C列 \uF99D劣 \uF99E咽 "
    "\uF99F烈 \uF9A0裂 \uF9A1說 \uF9A2廉 \uF9A3念 \uF9A4捻 \uF9A5殮 \uF9A6簾 \uF9A7獵 \uF9A8令 "
    "\uF9A9囹 \uF9AA寧 \uF9AB嶺 \uF9AC怜 \uF9AD玲 \uF9AE瑩 \uF9AF羚 \uF9B0聆 \uF9B1鈴 \uF9B2零 "
    "\uF9B3靈 \uF9B4領 \uF9B5例 \uF9B6禮 \uF9B7醴 \uF9B8隸 \uF9B9惡 \uF9BA了 \uF9BB僚 \uF9BC寮 "
    "\uF9BD尿 \uF9BE料 \uF9BF樂 \uF9C0燎 \uF9C1療 \uF9C2蓼 \uF9C3遼 \uF9C4龍 \uF9C5暈 \uF9C6阮 "
    "\uF9C7劉 \uF9C8杻 \uF9C9柳 \uF9CA流 \uF9CB溜 \uF9CC琉 \uF9CD留 \uF9CE硫 \uF9CF紐 \uF9D0類 "
    "\uF9D1六 \uF9D2戮 \uF9D3陸 \uF9D4倫 \uF9D5崙 \uF9D6淪 \uF9D7輪 \uF9D8律 \uF9D9慄 \uF9DA栗 "
    "\uF9DB率 \uF9DC隆 \uF9DD利 \uF9DE吏 \uF9DF履 \uF9E0易 \uF9E1李 \uF9E2梨 \uF9E3泥 \uF9E4理 "
    "\uF9E5痢 \uF9E6罹 \uF9E7裏 \uF9E8裡 \uF9E9里 \uF9EA離 \uF9EB匿 \uF9EC溺 \uF9ED吝 \uF9EE燐 "
    "\uF9EF璘 \uF9F0藺 \uF9F1隣 \uF9F2鱗 \uF9F3麟 \uF9F4林 \uF9F5淋 \uF9F6臨 \uF9F7立 \uF9F8笠 "
    "\uF9F9粒 \uF9FA狀 \uF9FB炙 \uF9FC識 \uF9FD什 \uF9FE茶 \uF9FF刺 \uFA00切 \uFA01度 \uFA02拓 "
    "\uFA03糖 \uFA04宅 \uFA05洞 \uFA06暴 \uFA07輻 \uFA08行 \uFA09降 \uFA0A見 \uFA0B廓 \uFA0C兀 "
    "\uFA0D嗀 \uFA10塚 \uFA12晴 \uFA15凞 \uFA16猪 \uFA17益 \uFA18礼 \uFA19神 \uFA1A祥 \uFA1B福 "
    "\uFA1C靖 \uFA1D精 \uFA1E羽 \uFA20蘒 \uFA22諸 \uFA25逸 \uFA26都 \uFA2A飯 \uFA2B飼 \uFA2C館 "
    "\uFA2D鶴 \uFA2E郞 \uFA2F隷 \uFA30侮 \uFA31僧 \uFA32免 \uFA33勉 \uFA34勤 \uFA35卑 \uFA36喝 "
    "\uFA37嘆 \uFA38器 \uFA39塀 \uFA3A墨 \uFA3B層 \uFA3C屮 \uFA3D悔 \uFA3E慨 \uFA3F憎 \uFA40懲 "
    "\uFA41敏 \uFA42既 \uFA43暑 \uFA44梅 \uFA45海 \uFA46渚 \uFA47漢 \uFA48煮 \uFA49爫 \uFA4A琢 "
    "\uFA4B碑 \uFA4C社 \uFA4D祉 \uFA4E祈 \uFA4F祐 \uFA50祖 \uFA51祝 \uFA52禍 \uFA53禎 \uFA54穀 "
    "\uFA55突 \uFA56節 \uFA57練 \uFA58縉 \uFA59繁 \uFA5A署 \uFA5B者 \uFA5C臭 \uFA5D艹 \uFA5E艹 "
    "\uFA5F著 \uFA60褐 \uFA61視 \uFA62謁 \uFA63謹 \uFA64賓 \uFA65贈 \uFA66辶 \uFA67逸 \uFA68難 "
    "\uFA69響 \uFA6A頻 \uFA6B恵 \uFA6C𤋮 \uFA6D舘 \uFA70並 \uFA71况 \uFA72全 \uFA73侀 \uFA74充 "
    "\uFA75冀 \uFA76勇 \uFA77勺 \uFA78喝 \uFA79啕 \uFA7A喙 \uFA7B嗢 \uFA7C塚 \uFA7D墳 \uFA7E奄 "
    "\uFA7F奔 \uFA80婢 \uFA81嬨 \uFA82廒 \uFA83廙 \uFA84彩 \uFA85徭 \uFA86惘 \uFA87慎 \uFA88愈 "
    "\uFA89憎 \uFA8A慠 \uFA8B懲 \uFA8C戴 \uFA8D揄 \uFA8E搜 \uFA8F摒 \uFA90敖 \uFA91晴 \uFA92朗 "
    "\uFA93望 \uFA94杖 \uFA95歹 \uFA96殺 \uFA97流 \uFA98滛 \uFA99滋 \uFA9A漢 \uFA9B瀞 \uFA9C煮 "
    "\uFA9D瞧 \uFA9E爵 \uFA9F犯 \uFAA0猪 \uFAA1瑱 \uFAA2甆 \uFAA3画 \uFAA4瘝 \uFAA5瘟 \uFAA6益 "
    "\uFAA7盛 \uFAA8直 \uFAA9睊 \uFAAA着 \uFAAB磌 \uFAAC窱 \uFAAD節 \uFAAE类 \uFAAF絛 \uFAB0練 "
    "\uFAB1缾 \uFAB2者 \uFAB3荒 \uFAB4華 \uFAB5蝹 \uFAB6襁 \uFAB7覆 \uFAB8視 \uFAB9調 \uFABA諸 "
    "\uFABB請 \uFABC謁 \uFABD諾 \uFABE諭 \uFABF謹 \uFAC0變 \uFAC1贈 \uFAC2輸 \uFAC3遲 \uFAC4醙 "
    "\uFAC5鉶 \uFAC6陼 \uFAC7難 \uFAC8靖 \uFAC9韛 \uFACA響 \uFACB頋 \uFACC頻 \uFACD鬒 \uFACE龜 "
    "\uFACF𢡊 \uFAD0𢡄 \uFAD1𣏕 \uFAD2㮝 \uFAD3䀘 \uFAD4䀹 \uFAD5𥉉 \uFAD6𥳐 \uFAD7𧻓 \uFAD8齃 "
    "\uFAD9龎 \uFB1Dי \uFB1Fײ \uFB2Aש \uFB2Bש \uFB2Cש \uFB2Dש \uFB2Eא \uFB2Fא \uFB30א \uFB31ב "
    "\uFB32ג \uFB33ד \uFB34ה \uFB35ו \uFB36ז \uFB38ט \uFB39י \uFB3Aך \uFB3Bכ \uFB3Cל \uFB3Eמ "
    "\uFB40נ \uFB41ס \uFB43ף \uFB44פ \uFB46צ \uFB47ק \uFB48ר \uFB49ש \uFB4Aת \uFB4Bו \uFB4Cב "
    "\uFB4Dכ \uFB4Eפ Ａａ Ｂｂ Ｃｃ Ｄｄ Ｅｅ Ｆｆ Ｇｇ Ｈｈ Ｉｉ Ｊｊ Ｋｋ Ｌｌ Ｍｍ Ｎｎ Ｏｏ "
    "Ｐｐ Ｑｑ Ｒｒ Ｓｓ Ｔｔ Ｕｕ Ｖｖ Ｗｗ Ｘｘ Ｙｙ Ｚｚ 𐐀𐐨 𐐁𐐩 𐐂𐐪 𐐃𐐫 𐐄𐐬 𐐅𐐭 𐐆𐐮 𐐇𐐯 𐐈𐐰 𐐉𐐱 𐐊𐐲 𐐋𐐳 𐐌𐐴 "
    "𐐍𐐵 𐐎𐐶 𐐏𐐷 𐐐𐐸 𐐑𐐹 𐐒𐐺 𐐓𐐻 𐐔𐐼 𐐕𐐽 𐐖𐐾 𐐗𐐿 𐐘𐑀 𐐙𐑁 𐐚𐑂 𐐛𐑃 𐐜𐑄 𐐝𐑅 𐐞𐑆 𐐟𐑇 𐐠𐑈 𐐡𐑉 𐐢𐑊 𐐣𐑋 𐐤𐑌 𐐥𐑍 𐐦𐑎 𐐧𐑏 𐒰𐓘 𐒱𐓙 𐒲𐓚 𐒳𐓛 "
    "𐒴𐓜 𐒵𐓝 𐒶𐓞 𐒷𐓟 𐒸𐓠 𐒹𐓡 𐒺𐓢 𐒻𐓣 𐒼𐓤 𐒽𐓥 𐒾𐓦 𐒿𐓧 𐓀𐓨 𐓁𐓩 𐓂𐓪 𐓃𐓫 𐓄𐓬 𐓅𐓭 𐓆𐓮 𐓇𐓯 𐓈𐓰 𐓉𐓱 𐓊𐓲 𐓋𐓳 𐓌𐓴 𐓍𐓵 𐓎𐓶 𐓏𐓷 𐓐𐓸 𐓑𐓹 𐓒𐓺 "
    "𐓓𐓻 𐕰𐖗 𐕱𐖘 𐕲𐖙 𐕳𐖚 𐕴𐖛 𐕵𐖜 𐕶𐖝 𐕷𐖞 𐕸𐖟 𐕹𐖠 𐕺𐖡 𐕼𐖣 𐕽𐖤 𐕾𐖥 𐕿𐖦 𐖀𐖧 𐖁𐖨 𐖂𐖩 𐖃𐖪 𐖄𐖫 𐖅𐖬 𐖆𐖭 𐖇𐖮 𐖈𐖯 𐖉𐖰 𐖊𐖱 𐖌𐖳 𐖍𐖴 𐖎𐖵 𐖏𐖶 "
    "𐖐𐖷 𐖑𐖸 𐖒𐖹 𐖔𐖻 𐖕𐖼 𐲀𐳀 𐲁𐳁 𐲂𐳂 𐲃𐳃 𐲄𐳄 𐲅𐳅 𐲆𐳆 𐲇𐳇 𐲈𐳈 𐲉𐳉 𐲊𐳊 𐲋𐳋 𐲌𐳌 𐲍𐳍 𐲎𐳎 𐲏𐳏 𐲐𐳐 𐲑𐳑 𐲒𐳒 𐲓𐳓 𐲔𐳔 𐲕𐳕 𐲖𐳖 𐲗𐳗 𐲘𐳘 𐲙𐳙 "
    "𐲚𐳚 𐲛𐳛 𐲜𐳜 𐲝𐳝 𐲞𐳞 𐲟𐳟 𐲠𐳠 𐲡𐳡 𐲢𐳢 𐲣𐳣 𐲤𐳤 𐲥𐳥 𐲦𐳦 𐲧𐳧 𐲨𐳨 𐲩𐳩 𐲪𐳪 𐲫𐳫 𐲬𐳬 𐲭𐳭 𐲮𐳮 𐲯𐳯 𐲰𐳰 𐲱𐳱 𐲲𐳲 "
    "\U00010D50\U00010D70 \U00010D51\U00010D71 \U00010D52\U00010D72 \U00010D53\U00010D73 "
    "\U00010D54\U00010D74 \U00010D55\U00010D75 \U00010D56\U00010D76 \U00010D57\U00010D77 "
    "\U00010D58\U00010D78 \U00010D59\U00010D79 \U00010D5A\U00010D7A \U00010D5B\U00010D7B "
    "\U00010D5C\U00010D7C \U00010D5D\U00010D7D \U00010D5E\U00010D7E \U00010D5F\U00010D7F "
    "\U00010D60\U00010D80 \U00010D61\U00010D81 \U00010D62\U00010D82 \U00010D63\U00010D83 "
    "\U00010D64\U00010D84 \U00010D65\U00010D85 𑂚𑂙 𑂜𑂛 𑂫𑂥 \U0001134B\U00011347\U0001133E "
    "\U0001134C\U00011347\U00011357 \U000114BB\U000114B9 \U000114BC\U000114B9\U000114B0 "
    "\U000114BE\U000114B9\U000114BD \U000115BA\U000115B8\U000115AF \U000115BB\U000115B9\U000115AF "
    "𑢠𑣀 𑢡𑣁 𑢢𑣂 𑢣𑣃 𑢤𑣄 𑢥𑣅 𑢦𑣆 𑢧𑣇 𑢨𑣈 𑢩𑣉 𑢪𑣊 𑢫𑣋 𑢬𑣌 𑢭𑣍 𑢮𑣎 𑢯𑣏 𑢰𑣐 𑢱𑣑 𑢲𑣒 𑢳𑣓 𑢴𑣔 𑢵𑣕 𑢶𑣖 𑢷𑣗 𑢸𑣘 𑢹𑣙 𑢺𑣚 𑢻𑣛 𑢼𑣜 𑢽𑣝 𑢾𑣞 "
    "𑢿𑣟 𖹀𖹠 𖹁𖹡 𖹂𖹢 𖹃𖹣 𖹄𖹤 𖹅𖹥 𖹆𖹦 𖹇𖹧 𖹈𖹨 𖹉𖹩 𖹊𖹪 𖹋𖹫 𖹌𖹬 𖹍𖹭 𖹎𖹮 𖹏𖹯 𖹐𖹰 𖹑𖹱 𖹒𖹲 𖹓𖹳 𖹔𖹴 𖹕𖹵 𖹖𖹶 𖹗𖹷 𖹘𖹸 𖹙𖹹 𖹚𖹺 𖹛𖹻 𖹜𖹼 𖹝𖹽 "
    "𖹞𖹾 𖹟𖹿 \U00016EA0\U00016EBB \U00016EA1\U00016EBC \U00016EA2\U00016EBD \U00016EA3\U00016EBE "
    "\U00016EA4\U00016EBF \U00016EA5\U00016EC0 \U00016EA6\U00016EC1 \U00016EA7\U00016EC2 "
    "\U00016EA8\U00016EC3 \U00016EA9\U00016EC4 \U00016EAA\U00016EC5 \U00016EAB\U00016EC6 "
    "\U00016EAC\U00016EC7 \U00016EAD\U00016EC8 \U00016EAE\U00016EC9 \U00016EAF\U00016ECA "
    "\U00016EB0\U00016ECB \U00016EB1\U00016ECC \U00016EB2\U00016ECD \U00016EB3\U00016ECE "
    "\U00016EB4\U00016ECF \U00016EB5\U00016ED0 \U00016EB6\U00016ED1 \U00016EB7\U00016ED2 "
    "\U00016EB8\U00016ED3 \U0001D15E\U0001D157\U0001D165 \U0001D15F\U0001D158\U0001D165 "
    "\U0001D160\U0001D158\U0001D165\U0001D16E \U0001D161\U0001D158\U0001D165\U0001D16F "
    "\U0001D162\U0001D158\U0001D165\U0001D170 \U0001D163\U0001D158\U0001D165\U0001D171 "
    "\U0001D164\U0001D158\U0001D165\U0001D172 \U0001D1BB\U0001D1B9\U0001D165 "
    "\U0001D1BC\U0001D1BA\U0001D165 \U0001D1BD\U0001D1B9\U0001D165\U0001D16E "
    "\U0001D1BE\U0001D1BA\U0001D165\U0001D16E \U0001D1BF\U0001D1B9\U0001D165\U0001D16F "
    "\U0001D1C0\U0001D1BA\U0001D165\U0001D16F 𞤀𞤢 𞤁𞤣 𞤂𞤤 𞤃𞤥 𞤄𞤦 𞤅𞤧 𞤆𞤨 𞤇𞤩 𞤈𞤪 𞤉𞤫 𞤊𞤬 𞤋𞤭 𞤌𞤮 𞤍𞤯 𞤎𞤰 𞤏𞤱 𞤐𞤲 "
    "𞤑𞤳 𞤒𞤴 𞤓𞤵 𞤔𞤶 𞤕𞤷 𞤖𞤸 𞤗𞤹 𞤘𞤺 𞤙𞤻 𞤚𞤼 𞤛𞤽 𞤜𞤾 𞤝𞤿 𞤞𞥀 𞤟𞥁 𞤠𞥂 𞤡𞥃 \U0002F800丽 \U0002F801丸 \U0002F802乁 "
    "\U0002F803𠄢 \U0002F804你 \U0002F805侮 \U0002F806侻 \U0002F807倂 \U0002F808偺 \U0002F809備 "
    "\U0002F80A僧 \U0002F80B像 \U0002F80C㒞 \U0002F80D𠘺 \U0002F80E免 \U0002F80F兔 \U0002F810兤 "
    "\U0002F811具 \U0002F812𠔜 \U0002F813㒹 \U0002F814內 \U0002F815再 \U0002F816𠕋 \U0002F817冗 "
    "\U0002F818冤 \U0002F819仌 \U0002F81A冬 \U0002F81B况 \U0002F81C𩇟 \U0002F81D凵 \U0002F81E刃 "
    "\U0002F81F㓟 \U0002F820刻 \U0002F821剆 \U0002F822割 \U0002F823剷 \U0002F824㔕 \U0002F825勇 "
    "\U0002F826勉 \U0002F827勤 \U0002F828勺 \U0002F829包 \U0002F82A匆 \U0002F82B北 \U0002F82C卉 "
    "\U0002F82D卑 \U0002F82E博 \U0002F82F即 \U0002F830卽 \U0002F831卿 \U0002F832卿 \U0002F833卿 "
    "\U0002F834𠨬 \U0002F835灰 \U0002F836及 \U0002F837叟 \U0002F838𠭣 \U0002F839叫 \U0002F83A叱 "
    "\U0002F83B吆 \U0002F83C咞 \U0002F83D吸 \U0002F83E呈 \U0002F83F周 \U0002F840咢 \U0002F841哶 "
    "\U0002F842唐 \U0002F843啓 \U0002F844啣 \U0002F845善 \U0002F846善 \U0002F847喙 \U0002F848喫 "
    "\U0002F849喳 \U0002F84A嗂 \U0002F84B圖 \U0002F84C嘆 \U0002F84D圗 \U0002F84E噑 \U0002F84F噴 "
    "\U0002F850切 \U0002F851壮 \U0002F852城 \U0002F853埴 \U0002F854堍 \U0002F855型 \U0002F856堲 "
    "\U0002F857報 \U0002F858墬 \U0002F859𡓤 \U0002F85A売 \U0002F85B壷 \U0002F85C夆 \U0002F85D多 "
    "\U0002F85E夢 \U0002F85F奢 \U0002F860𡚨 \U0002F861𡛪 \U0002F862姬 \U0002F863娛 \U0002F864娧 "
    "\U0002F865姘 \U0002F866婦 \U0002F867㛮 \U0002F868㛼 \U0002F869嬈 \U0002F86A嬾 \U0002F86B嬾 "
    "\U0002F86C𡧈 \U0002F86D寃 \U0002F86E寘 \U0002F86F寧 \U0002F870寳 \U0002F871𡬘 \U0002F872寿 "
    "\U0002F873将 \U0002F874当 \U0002F875尢 \U0002F876㞁 \U0002F877屠 \U0002F878屮 \U0002F879峀 "
    "\U0002F87A岍 \U0002F87B𡷤 \U0002F87C嵃 \U0002F87D𡷦 \U0002F87E嵮 \U0002F87F嵫 \U0002F880嵼 "
    "\U0002F881巡 \U0002F882巢 \U0002F883㠯 \U0002F884巽 \U0002F885帨 \U0002F886帽 \U0002F887幩 "
    "\U0002F888㡢 \U0002F889𢆃 \U0002F88A㡼 \U0002F88B庰 \U0002F88C庳 \U0002F88D庶 \U0002F88E廊 "
    "\U0002F88F𪎒 \U0002F890廾 \U0002F891𢌱 \U0002F892𢌱 \U0002F893舁 \U0002F894弢 \U0002F895弢 "
    "\U0002F896㣇 \U0002F897𣊸 \U0002F898𦇚 \U0002F899形 \U0002F89A彫 \U0002F89B㣣 \U0002F89C徚 "
    "\U0002F89D忍 \U0002F89E志 \U0002F89F忹 \U0002F8A0悁 \U0002F8A1㤺 \U0002F8A2㤜 \U0002F8A3悔 "
    "\U0002F8A4𢛔 \U0002F8A5惇 \U0002F8A6慈 \U0002F8A7慌 \U0002F8A8慎 \U0002F8A9慌 \U0002F8AA慺 "
    "\U0002F8AB憎 \U0002F8AC憲 \U0002F8AD憤 \U0002F8AE憯 \U0002F8AF懞 \U0002F8B0懲 \U0002F8B1懶 "
    "\U0002F8B2成 \U0002F8B3戛 \U0002F8B4扝 \U0002F8B5抱 \U0002F8B6拔 \U0002F8B7捐 \U0002F8B8𢬌 "
    "\U0002F8B9挽 \U0002F8BA拼 \U0002F8BB捨 \U0002F8BC掃 \U0002F8BD揤 \U0002F8BE𢯱 \U0002F8BF搢 "
    "\U0002F8C0揅 \U0002F8C1掩 \U0002F8C2㨮 \U0002F8C3摩 \U0002F8C4摾 \U0002F8C5撝 \U0002F8C6摷 "
    "\U0002F8C7㩬 \U0002F8C8敏 \U0002F8C9敬 \U0002F8CA𣀊 \U0002F8CB旣 \U0002F8CC書 \U0002F8CD晉 "
    "\U0002F8CE㬙 \U0002F8CF暑 \U0002F8D0㬈 \U0002F8D1㫤 \U0002F8D2冒 \U0002F8D3冕 \U0002F8D4最 "
    "\U0002F8D5暜 \U0002F8D6肭 \U0002F8D7䏙 \U0002F8D8朗 \U0002F8D9望 \U0002F8DA朡 \U0002F8DB杞 "
    "\U0002F8DC杓 \U0002F8DD𣏃 \U0002F8DE㭉 \U0002F8DF柺 \U0002F8E0枅 \U0002F8E1桒 \U0002F8E2梅 "
    "\U0002F8E3𣑭 \U0002F8E4梎 \U0002F8E5栟 \U0002F8E6椔 \U0002F8E7㮝 \U0002F8E8楂 \U0002F8E9榣 "
    "\U0002F8EA槪 \U0002F8EB檨 \U0002F8EC𣚣 \U0002F8ED櫛 \U0002F8EE㰘 \U0002F8EF次 \U0002F8F0𣢧 "
    "\U0002F8F1歔 \U0002F8F2㱎 \U0002F8F3歲 \U0002F8F4殟 \U0002F8F5殺 \U0002F8F6殻 \U0002F8F7𣪍 "
    "\U0002F8F8𡴋 \U0002F8F9𣫺 \U0002F8FA汎 \U0002F8FB𣲼 \U0002F8FC沿 \U0002F8FD泍 \U0002F8FE汧 "
    "\U0002F8FF洖 \U0002F900派 \U0002F901海 \U0002F902流 \U0002F903浩 \U0002F904浸 \U0002F905涅 "
    "\U0002F906𣴞 \U0002F907洴 \U0002F908港 \U0002F909湮 \U0002F90A㴳 \U0002F90B滋 \U0002F90C滇 "
    "\U0002F90D𣻑 \U0002F90E淹 \U0002F90F潮 \U0002F910𣽞 \U0002F911𣾎 \U0002F912濆 \U0002F913瀹 "
    "\U0002F914瀞 \U0002F915瀛 \U0002F916㶖 \U0002F917灊 \U0002F918災 \U0002F919灷 \U0002F91A炭 "
    "\U0002F91B𠔥 \U0002F91C煅 \U0002F91D𤉣 \U0002F91E熜 \U0002F91F𤎫 \U0002F920爨 \U0002F921爵 "
    "\U0002F922牐 \U0002F923𤘈 \U0002F924犀 \U0002F925犕 \U0002F926𤜵 \U0002F927𤠔 \U0002F928獺 "
    "\U0002F929王 \U0002F92A㺬 \U0002F92B玥 \U0002F92C㺸 \U0002F92D㺸 \U0002F92E瑇 \U0002F92F瑜 "
    "\U0002F930瑱 \U0002F931璅 \U0002F932瓊 \U0002F933㼛 \U0002F934甤 \U0002F935𤰶 \U0002F936甾 "
    "\U0002F937𤲒 \U0002F938異 \U0002F939𢆟 \U0002F93A瘐 \U0002F93B𤾡 \U0002F93C𤾸 \U0002F93D𥁄 "
    "\U0002F93E㿼 \U0002F93F䀈 \U0002F940直 \U0002F941𥃳 \U0002F942𥃲 \U0002F943𥄙 \U0002F944𥄳 "
    "\U0002F945眞 \U0002F946真 \U0002F947真 \U0002F948睊 \U0002F949䀹 \U0002F94A瞋 \U0002F94B䁆 "
    "\U0002F94C䂖 \U0002F94D𥐝 \U0002F94E硎 \U0002F94F碌 \U0002F950磌 \U0002F951䃣 \U0002F952𥘦 "
    "\U0002F953祖 \U0002F954𥚚 \U0002F955𥛅 \U0002F956福 \U0002F957秫 \U0002F958䄯 \U0002F959穀 "
    "\U0002F95A穊 \U0002F95B穏 \U0002F95C𥥼 \U0002F95D𥪧 \U0002F95E𥪧 \U0002F95F竮 \U0002F960䈂 "
    "\U0002F961𥮫 \U0002F962篆 \U0002F963築 \U0002F964䈧 \U0002F965𥲀 \U0002F966糒 \U0002F967䊠 "
    "\U0002F968糨 \U0002F969糣 \U0002F96A紀 \U0002F96B𥾆 \U0002F96C絣 \U0002F96D䌁 \U0002F96E緇 "
    "\U0002F96F縂 \U0002F970繅 \U0002F971䌴 \U0002F972𦈨 \U0002F973𦉇 \U0002F974䍙 \U0002F975𦋙 "
    "\U0002F976罺 \U0002F977𦌾 \U0002F978羕 \U0002F979翺 \U0002F97A者 \U0002F97B𦓚 \U0002F97C𦔣 "
    "\U0002F97D聠 \U0002F97E𦖨 \U0002F97F聰 \U0002F980𣍟 \U0002F981䏕 \U0002F982育 \U0002F983脃 "
    "\U0002F984䐋 \U0002F985脾 \U0002F986媵 \U0002F987𦞧 \U0002F988𦞵 \U0002F989𣎓 \U0002F98A𣎜 "
    "\U0002F98B舁 \U0002F98C舄 \U0002F98D辞 \U0002F98E䑫 \U0002F98F芑 \U0002F990芋 \U0002F991芝 "
    "\U0002F992劳 \U0002F993花 \U0002F994芳 \U0002F995芽 \U0002F996苦 \U0002F997𦬼 \U0002F998若 "
    "\U0002F999茝 \U0002F99A荣 \U0002F99B莭 \U0002F99C茣 \U0002F99D莽 \U0002F99E菧 \U0002F99F著 "
    "\U0002F9A0荓 \U0002F9A1菊 \U0002F9A2菌 \U0002F9A3菜 \U0002F9A4𦰶 \U0002F9A5𦵫 \U0002F9A6𦳕 "
    "\U0002F9A7䔫 \U0002F9A8蓱 \U0002F9A9蓳 \U0002F9AA蔖 \U0002F9AB𧏊 \U0002F9AC蕤 \U0002F9AD𦼬 "
    "\U0002F9AE䕝 \U0002F9AF䕡 \U0002F9B0𦾱 \U0002F9B1𧃒 \U0002F9B2䕫 \U0002F9B3虐 \U0002F9B4虜 "
    "\U0002F9B5虧 \U0002F9B6虩 \U0002F9B7蚩 \U0002F9B8蚈 \U0002F9B9蜎 \U0002F9BA蛢 \U0002F9BB蝹 "
    "\U0002F9BC蜨 \U0002F9BD蝫 \U0002F9BE螆 \U0002F9BF䗗 \U0002F9C0蟡 \U0002F9C1蠁 \U0002F9C2䗹 "
    "\U0002F9C3衠 \U0002F9C4衣 \U0002F9C5𧙧 \U0002F9C6裗 \U0002F9C7裞 \U0002F9C8䘵 \U0002F9C9裺 "
    "\U0002F9CA㒻 \U0002F9CB𧢮 \U0002F9CC𧥦 \U0002F9CD䚾 \U0002F9CE䛇 \U0002F9CF誠 \U0002F9D0諭 "
    "\U0002F9D1變 \U0002F9D2豕 \U0002F9D3𧲨 \U0002F9D4貫 \U0002F9D5賁 \U0002F9D6贛 \U0002F9D7起 "
    "\U0002F9D8𧼯 \U0002F9D9𠠄 \U0002F9DA跋 \U0002F9DB趼 \U0002F9DC跰 \U0002F9DD𠣞 \U0002F9DE軔 "
    "\U0002F9DF輸 \U0002F9E0𨗒 \U0002F9E1𨗭 \U0002F9E2邔 \U0002F9E3郱 \U0002F9E4鄑 \U0002F9E5𨜮 "
    "\U0002F9E6鄛 \U0002F9E7鈸 \U0002F9E8鋗 \U0002F9E9鋘 \U0002F9EA鉼 \U0002F9EB鏹 \U0002F9EC鐕 "
    "\U0002F9ED𨯺 \U0002F9EE開 \U0002F9EF䦕 \U0002F9F0閷 \U0002F9F1𨵷 \U0002F9F2䧦 \U0002F9F3雃 "
    "\U0002F9F4嶲 \U0002F9F5霣 \U0002F9F6𩅅 \U0002F9F7𩈚 \U0002F9F8䩮 \U0002F9F9䩶 \U0002F9FA韠 "
    "\U0002F9FB𩐊 \U0002F9FC䪲 \U0002F9FD𩒖 \U0002F9FE頋 \U0002F9FF頋 \U0002FA00頩 \U0002FA01𩖶 "
    "\U0002FA02飢 \U0002FA03䬳 \U0002FA04餩 \U0002FA05馧 \U0002FA06駂 \U0002FA07駾 \U0002FA08䯎 "
    "\U0002FA09𩬰 \U0002FA0A鬒 \U0002FA0B鱀 \U0002FA0C鳽 \U0002FA0D䳎 \U0002FA0E䳭 \U0002FA0F鵧 "
    "\U0002FA10𪃎 \U0002FA11䳸 \U0002FA12𪄅 \U0002FA13𪈎 \U0002FA14𪊑 \U0002FA15麻 \U0002FA16䵖 "
    "\U0002FA17黹 \U0002FA18黾 \U0002FA19鼅 \U0002FA1A鼏 \U0002FA1B鼖 \U0002FA1C鼻 \U0002FA1D𪘀 ";

}  // namespace engine
