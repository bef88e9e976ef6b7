/* Slugs: one pass over the code points; each gives letters, a separator or nothing. */
#include "domain/slug.h"
#include "base/utf8.h"

/* Cyrillic а (U+0430) to џ (U+045F), by the table of the Cabinet of Ministers of Ukraine, No. 55 of
 * 27 January 2010; letters it does not know follow its manner.  initial: at the start of a word
 * where that differs. */
struct letter {
    const char *text, *initial;
};
#define CYRILLIC_FIRST 0x430
static const struct letter cyrillic[] = {
    {"a", NULL},  {"b", NULL},    {"v", NULL},  {"h", NULL},  {"d", NULL},  {"e", NULL},
    {"zh", NULL}, {"z", NULL},    {"y", NULL},  {"i", "y"},   {"k", NULL},  {"l", NULL},
    {"m", NULL},  {"n", NULL},    {"o", NULL},  {"p", NULL},  {"r", NULL},  {"s", NULL},
    {"t", NULL},  {"u", NULL},    {"f", NULL},  {"kh", NULL}, {"ts", NULL}, {"ch", NULL},
    {"sh", NULL}, {"shch", NULL}, {"", NULL},   {"y", NULL},  {"", NULL},   {"e", NULL},
    {"iu", "yu"}, {"ia", "ya"}, /* U+0450: */
    {"e", NULL},  {"io", "yo"},   {"dj", NULL}, {"g", NULL},  {"ie", "ye"}, {"dz", NULL},
    {"i", NULL},  {"i", "yi"},    {"j", NULL},  {"lj", NULL}, {"nj", NULL}, {"c", NULL},
    {"k", NULL},  {"i", NULL},    {"u", NULL},  {"dz", NULL},
};
_Static_assert(DC_ARRAY_LEN(cyrillic) == 0x460 - CYRILLIC_FIRST, "one row for each letter");

#define CYRILLIC_HE      0x433 /* г */
#define CYRILLIC_IE      0x435 /* е */
#define CYRILLIC_ZE      0x437 /* з */
#define CYRILLIC_I       0x438 /* и */
#define CYRILLIC_SHORT_I 0x439 /* й */
#define CYRILLIC_U       0x443 /* у */
#define CYRILLIC_YO      0x451 /* ё */
#define CYRILLIC_DOT_I   0x456 /* і */
#define CYRILLIC_YI      0x457 /* ї */
#define CYRILLIC_SHORT_U 0x45e /* ў */
#define CYRILLIC_GE      0x491 /* ґ */

/* Latin letters without their marks, generated from the Unicode character database (compatibility
 * decomposition).  '.': no letter of a-z; '+': more than one, see latin_pairs. */
#define LATIN_FIRST     0xc0
#define LATIN_ADD_FIRST 0x1e00
static const char latin[] = "aaaaaa+ceeeeiiiidnooooo.ouuuuy++aaaaaa+ceeeeiiiidnooooo.ouuuuy+y"
                            "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii++jjkkklllllll"
                            "lllnnnnnnnnnoooooo++rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
                            "bb....o.......eeeff.....kk......oo.............uu..yy..........."
                            "....+++++++++aaiioouuuuuuuuuueaaaa++..ggkkoooo..j+++gg..nnaa++oo"
                            "aaaaeeeeiiiioooorrrruuuusstt..hh......aaeeooooooooyy............"
                            "...b............";
static const char latin_add[] = "aabbbbbbccddddddddddeeeeeeeeeeffgghhhhhhhhhhiiiikkkkkkllllllllmm"
                                "mmmmnnnnnnnnoooooooopppprrrrrrrrssssssssssttttttttuuuuuuuuuuvvvv"
                                "wwwwwwwwwwxxxxyyzzzzzzhtwy.s..+.aaaaaaaaaaaaaaaaaaaaaaaaeeeeeeee"
                                "eeeeeeeeiiiioooooooooooooooooooooooouuuuuuuuuuuuuuyyyyyyyy......";
static const struct {
    uint16_t first, last;
    const char *text;
} latin_pairs[] = {
    {0xc6, 0xc6, "ae"},   {0xde, 0xde, "th"},     {0xdf, 0xdf, "ss"},   {0xe6, 0xe6, "ae"},
    {0xfe, 0xfe, "th"},   {0x132, 0x133, "ij"},   {0x152, 0x153, "oe"}, {0x1c4, 0x1c6, "dz"},
    {0x1c7, 0x1c9, "lj"}, {0x1ca, 0x1cc, "nj"},   {0x1e2, 0x1e3, "ae"}, {0x1f1, 0x1f3, "dz"},
    {0x1fc, 0x1fd, "ae"}, {0x1e9e, 0x1e9e, "ss"},
};

static uint32_t lower_cyrillic(uint32_t cp)
{
    if (cp >= 0x410 && cp <= 0x42f) {
        return cp + 0x20;
    }
    if (cp >= 0x400 && cp <= 0x40f) {
        return cp + 0x50;
    }
    return cp == 0x490 ? CYRILLIC_GE : cp;
}

/* Letters that some keyboards and file systems write as a letter and a mark. */
static uint32_t compose(uint32_t cp, uint32_t mark)
{
    if (mark == 0x306) { /* breve */
        return cp == CYRILLIC_I ? CYRILLIC_SHORT_I : cp == CYRILLIC_U ? CYRILLIC_SHORT_U : cp;
    }
    if (mark == 0x308) { /* diaeresis */
        return cp == CYRILLIC_DOT_I ? CYRILLIC_YI : cp == CYRILLIC_IE ? CYRILLIC_YO : cp;
    }
    return cp;
}

/* Apostrophes in all the forms people type, combining marks, and what cannot be seen. */
static bool is_dropped(uint32_t cp)
{
    static const uint16_t apostrophes[] = {'\'', '`', 0xb4, 0x2b9, 0x2bc, 0x2018, 0x2019, 0x2032};
    for (size_t i = 0; i < DC_ARRAY_LEN(apostrophes); i++) {
        if (cp == apostrophes[i]) {
            return true;
        }
    }
    return (cp >= 0x300 && cp <= 0x36f) || cp == 0xad || (cp >= 0x200b && cp <= 0x200d) ||
           cp == 0xfeff;
}

static struct dc_slice latin_letter(uint32_t cp)
{
    const char *at = NULL;
    if (cp >= LATIN_FIRST && cp < LATIN_FIRST + sizeof(latin) - 1) {
        at = &latin[cp - LATIN_FIRST];
    } else if (cp >= LATIN_ADD_FIRST && cp < LATIN_ADD_FIRST + sizeof(latin_add) - 1) {
        at = &latin_add[cp - LATIN_ADD_FIRST];
    }
    if (at == NULL || *at == '.') {
        return DC_SLICE_NULL;
    }
    if (*at != '+') {
        return dc_slice_make(at, 1);
    }
    for (size_t i = 0; i < DC_ARRAY_LEN(latin_pairs); i++) {
        if (cp >= latin_pairs[i].first && cp <= latin_pairs[i].last) {
            return dc_slice_z(latin_pairs[i].text);
        }
    }
    return DC_SLICE_NULL;
}

/* The letters for cp (lower case, composed); ptr NULL: a separator. */
static struct dc_slice letters(uint32_t cp, uint32_t previous, bool is_word_start)
{
    static const char ascii[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    if (cp >= '0' && cp <= '9') {
        return dc_slice_make(&ascii[cp - '0'], 1);
    }
    if ((cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z')) {
        return dc_slice_make(&ascii[10 + (cp | 0x20) - 'a'], 1);
    }
    if (cp == CYRILLIC_GE) {
        return DC_S("g");
    }
    if (cp == CYRILLIC_HE && previous == CYRILLIC_ZE) {
        return DC_S("gh"); /* so that it does not read as ж */
    }
    if (cp >= CYRILLIC_FIRST && cp < CYRILLIC_FIRST + DC_ARRAY_LEN(cyrillic)) {
        const struct letter *l = &cyrillic[cp - CYRILLIC_FIRST];
        return dc_slice_z(is_word_start && l->initial != NULL ? l->initial : l->text);
    }
    return latin_letter(cp);
}

static bool next_cp(struct dc_slice *in, bool is_utf8, uint32_t *cp)
{
    if (is_utf8) {
        return dc_utf8_next(in, cp);
    }
    struct dc_slice byte;
    if (!dc_slice_take(in, 1, &byte)) {
        return false;
    }
    *cp = (unsigned char)byte.ptr[0] < 0x80 ? (unsigned char)byte.ptr[0] : ' ';
    return true;
}

struct dc_slice dc_slug_from_name(struct dc_slice name, char out[DC_SLUG_MAX])
{
    bool is_utf8 = dc_utf8_is_valid(name);
    size_t len = 0;
    uint32_t previous = 0;
    bool is_word_start = true; /* the next letter stands behind a separator, or first */
    uint32_t cp = 0;
    while (next_cp(&name, is_utf8, &cp)) {
        if (is_dropped(cp)) {
            continue;
        }
        cp = lower_cyrillic(cp);
        struct dc_slice rest = name;
        uint32_t mark = 0;
        if (is_utf8 && dc_utf8_next(&rest, &mark)) {
            cp = compose(cp, mark); /* the mark itself is dropped when its turn comes */
        }
        struct dc_slice text = letters(cp, previous, is_word_start);
        previous = cp;
        if (text.ptr == NULL) {
            is_word_start = true;
            continue;
        }
        if (text.len == 0) {
            continue;
        }
        size_t dash = is_word_start && len > 0 ? 1 : 0;
        if (len + dash + text.len > DC_SLUG_MAX) {
            break;
        }
        if (dash > 0) {
            out[len++] = '-';
        }
        memcpy(out + len, text.ptr, text.len);
        len += text.len;
        is_word_start = false;
    }
    return dc_slice_make(out, len);
}

struct dc_slice dc_slug_numbered(struct dc_slice slug, uint32_t n, char out[DC_SLUG_MAX])
{
    char digits[10];
    size_t n_digits = 0;
    do {
        digits[n_digits++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    size_t len = slug.len < DC_SLUG_MAX - 1 - n_digits ? slug.len : DC_SLUG_MAX - 1 - n_digits;
    while (len > 1 && slug.ptr[len - 1] == '-') {
        len--;
    }
    memcpy(out, slug.ptr, len);
    out[len++] = '-';
    while (n_digits > 0) {
        out[len++] = digits[--n_digits];
    }
    return dc_slice_make(out, len);
}
