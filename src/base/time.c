/* Dates by arithmetic on days counted from 0000-03-01 (the leap day ends such a year), after
 * H. Hinnant's "chrono-compatible low-level date algorithms".  No time zone data, no locale. */
#include "base/time.h"
#include <time.h>

#define DAY_MS         INT64_C(86400000)
#define DAYS_PER_ERA   146097 /* 400 years */
#define EPOCH_DAYS     719468 /* 1970-01-01 from 0000-03-01 */
#define MIN_UTC_MS     INT64_C(-62167219200000)
#define MAX_UTC_MS     INT64_C(253402300799999)
#define FRACTION_LIMIT 9

static struct timespec read_clock(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    DC_ASSERT(rc == 0);
    return ts;
}

struct dc_mono dc_mono_now(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (struct dc_mono){(int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000};
}

uint64_t dc_mono_now_us(void)
{
    struct timespec ts = read_clock(CLOCK_MONOTONIC);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)(ts.tv_nsec / 1000);
}

struct dc_utc dc_utc_now(void)
{
    struct timespec ts = read_clock(CLOCK_REALTIME);
    return (struct dc_utc){(int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000};
}

static inline char *put2(char *out, uint32_t v)
{
    out[0] = (char)('0' + v / 10);
    out[1] = (char)('0' + v % 10);
    return out + 2;
}

void dc_utc_format(struct dc_utc t, char out[DC_ISO_LEN + 1])
{
    int64_t ms = t.ms;
    if (ms < MIN_UTC_MS) {
        ms = MIN_UTC_MS;
    } else if (ms > MAX_UTC_MS) {
        ms = MAX_UTC_MS;
    }
    /* From year 0 on everything is positive, and division rounds as wanted. */
    uint64_t since_zero = (uint64_t)(ms - MIN_UTC_MS);
    uint32_t rest = (uint32_t)(since_zero % DAY_MS);
    /* 0000-01-01 lies 60 days before 0000-03-01; count from an era earlier. */
    uint32_t z = (uint32_t)(since_zero / DAY_MS) + DAYS_PER_ERA - 60;
    uint32_t era = z / DAYS_PER_ERA;
    uint32_t day_of_era = z % DAYS_PER_ERA;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint32_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0) - 400;
    uint32_t second = rest / 1000;
    uint32_t milli = rest % 1000;

    char *p = put2(out, year / 100);
    p = put2(p, year % 100);
    *p++ = '-';
    p = put2(p, month);
    *p++ = '-';
    p = put2(p, day);
    *p++ = 'T';
    p = put2(p, second / 3600);
    *p++ = ':';
    p = put2(p, second / 60 % 60);
    *p++ = ':';
    p = put2(p, second % 60);
    *p++ = '.';
    *p++ = (char)('0' + milli / 100);
    p = put2(p, milli % 100);
    *p++ = 'Z';
    *p = '\0';
}

/* Exactly n digits. */
static bool take_digits(struct dc_slice *in, size_t n, uint32_t *out)
{
    struct dc_slice digits;
    struct dc_slice rest = *in;
    uint64_t v;
    if (!dc_slice_take(&rest, n, &digits) || !dc_slice_to_u64(digits, &v)) {
        return false;
    }
    *in = rest;
    *out = (uint32_t)v;
    return true;
}

static bool take_char(struct dc_slice *in, char c)
{
    return dc_slice_take_prefix(in, dc_slice_make(&c, 1));
}

static uint32_t days_in_month(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap ? 1U : 0U);
}

static int64_t days_since_epoch(uint32_t year, uint32_t month, uint32_t day)
{
    /* One era up keeps January and February of year 0 positive. */
    uint32_t y = year + 400 - (month <= 2 ? 1 : 0);
    uint32_t era = y / 400;
    uint32_t year_of_era = y % 400;
    uint32_t month_from_march = month > 2 ? month - 3 : month + 9;
    uint32_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    uint32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return ((int64_t)era - 1) * DAYS_PER_ERA + day_of_era - EPOCH_DAYS;
}

static bool take_date(struct dc_slice *in, int64_t *day_ms)
{
    uint32_t year, month, day;
    if (!take_digits(in, 4, &year) || !take_char(in, '-') || !take_digits(in, 2, &month) ||
        !take_char(in, '-') || !take_digits(in, 2, &day)) {
        return false;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    *day_ms = days_since_epoch(year, month, day) * DAY_MS;
    return true;
}

/* Digits behind the third are cut, as the clocks here count milliseconds. */
static bool take_fraction(struct dc_slice *in, uint32_t *milli)
{
    *milli = 0;
    if (!take_char(in, '.')) {
        return true;
    }
    uint32_t scale = 100;
    size_t n = 0;
    uint32_t digit;
    while (take_digits(in, 1, &digit)) {
        *milli += digit * scale;
        scale /= 10;
        n++;
    }
    return n >= 1 && n <= FRACTION_LIMIT;
}

static bool take_time(struct dc_slice *in, int64_t *time_ms)
{
    uint32_t hour, minute, second, milli;
    if (!take_digits(in, 2, &hour) || !take_char(in, ':') || !take_digits(in, 2, &minute) ||
        !take_char(in, ':') || !take_digits(in, 2, &second) || !take_fraction(in, &milli)) {
        return false;
    }
    if (hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    *time_ms = (((int64_t)hour * 60 + minute) * 60 + second) * 1000 + milli;
    return true;
}

static bool take_zone(struct dc_slice *in, int64_t *zone_ms)
{
    *zone_ms = 0;
    if (take_char(in, 'Z')) {
        return true;
    }
    bool is_west = take_char(in, '-');
    uint32_t hour;
    uint32_t minute = 0;
    if ((!is_west && !take_char(in, '+')) || !take_digits(in, 2, &hour) ||
        (take_char(in, ':') && !take_digits(in, 2, &minute)) || hour > 23 || minute > 59) {
        return false;
    }
    *zone_ms = ((int64_t)hour * 60 + minute) * 60000;
    if (is_west) {
        *zone_ms = -*zone_ms;
    }
    return true;
}

bool dc_utc_parse(struct dc_slice s, struct dc_utc *out)
{
    int64_t day_ms, time_ms, zone_ms;
    if (!take_date(&s, &day_ms) || (!take_char(&s, 'T') && !take_char(&s, ' ')) ||
        !take_time(&s, &time_ms) || !take_zone(&s, &zone_ms) || s.len != 0) {
        return false;
    }
    int64_t ms = day_ms + time_ms - zone_ms;
    /* The zone may lead out of the years that dc_utc_format can write. */
    if (ms < MIN_UTC_MS || ms > MAX_UTC_MS) {
        return false;
    }
    out->ms = ms;
    return true;
}
