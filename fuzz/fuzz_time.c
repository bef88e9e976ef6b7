/* Moments in text: what is read, and what it means, is what a plain reading of the documented form
 * and the C library's calendar say; what is written reads back.  The first eight bytes are also
 * taken as a moment to write. */
#include "base/time.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MIN_UTC_MS INT64_C(-62167219200000)
#define MAX_UTC_MS INT64_C(253402300799999)

/* Two digits at s[i], or -1. */
static int two(const char *s, size_t i)
{
    if (s[i] < '0' || s[i] > '9' || s[i + 1] < '0' || s[i + 1] > '9') {
        return -1;
    }
    return (s[i] - '0') * 10 + (s[i + 1] - '0');
}

/* "Z", "+hh" or "+hh:mm", to the end; false: something else. */
static bool read_zone(const char *s, int64_t *zone_ms)
{
    size_t len = strlen(s);
    *zone_ms = 0;
    if (strcmp(s, "Z") == 0) {
        return true;
    }
    if ((s[0] != '+' && s[0] != '-') || (len != 3 && len != 6) || (len == 6 && s[3] != ':')) {
        return false;
    }
    int hour = two(s, 1), minute = len == 6 ? two(s, 4) : 0;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return false;
    }
    *zone_ms = (s[0] == '-' ? -1 : 1) * INT64_C(60000) * (hour * 60 + minute);
    return true;
}

/* s ends in NUL and has no other. */
static bool read_plainly(const char *s, int64_t *ms)
{
    size_t len = strlen(s), at = 19;
    if (len < 20 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != ' ') || s[13] != ':' ||
        s[16] != ':') {
        return false;
    }
    int century = two(s, 0), year = two(s, 2), month = two(s, 5), day = two(s, 8);
    int hour = two(s, 11), minute = two(s, 14), second = two(s, 17);
    if (century < 0 || year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) {
        return false;
    }
    struct tm tm = {.tm_year = century * 100 + year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    struct tm back;
    time_t seconds = timegm(&tm);
    /* A date that does not exist comes back as another one. */
    if (gmtime_r(&seconds, &back) == NULL || back.tm_year != century * 100 + year - 1900 ||
        back.tm_mon != month - 1 || back.tm_mday != day || back.tm_hour != hour ||
        back.tm_min != minute || back.tm_sec != second) {
        return false;
    }
    int64_t milli = 0, zone_ms;
    if (s[at] == '.') {
        size_t n = strspn(s + at + 1, "0123456789");
        if (n < 1 || n > 9) {
            return false;
        }
        for (size_t i = 0; i < 3; i++) {
            milli = milli * 10 + (i < n ? s[at + 1 + i] - '0' : 0);
        }
        at += 1 + n;
    }
    if (!read_zone(s + at, &zone_ms)) {
        return false;
    }
    *ms = (int64_t)seconds * 1000 + milli - zone_ms;
    return *ms >= MIN_UTC_MS && *ms <= MAX_UTC_MS;
}

/* ms is within the years that can be written. */
static void check_written(int64_t ms)
{
    char text[DC_ISO_LEN + 1];
    char want[64];
    struct dc_utc back;
    struct tm tm;
    int64_t milli = ((ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((ms - milli) / 1000);
    dc_utc_format((struct dc_utc){ms}, text);
    DC_ASSERT(gmtime_r(&seconds, &tm) != NULL);
    DC_ASSERT(strftime(want, sizeof(want), "%m-%dT%H:%M:%S", &tm) == 14);
    DC_ASSERT(two(text, 0) * 100 + two(text, 2) == tm.tm_year + 1900 && text[4] == '-');
    DC_ASSERT(memcmp(text + 5, want, 14) == 0 && text[19] == '.' && text[23] == 'Z');
    DC_ASSERT(text[20] - '0' == milli / 100 && two(text, 21) == milli % 100);
    DC_ASSERT(dc_utc_parse(dc_slice_make(text, DC_ISO_LEN), &back) && back.ms == ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dc_utc t = {77};
    int64_t want = 77;
    char text[64];
    bool is_read = dc_utc_parse(dc_slice_make(data, size), &t);
    if (size < sizeof(text) && memchr(data, '\0', size) == NULL) {
        memcpy(text, data, size);
        text[size] = '\0';
        DC_ASSERT(is_read == read_plainly(text, &want));
        DC_ASSERT(!is_read || t.ms == want);
    } else {
        DC_ASSERT(!is_read);
    }
    if (is_read) {
        check_written(t.ms);
    } else {
        DC_ASSERT(t.ms == 77);
    }
    if (size >= sizeof(want)) {
        memcpy(&want, data, sizeof(want));
        int64_t span = MAX_UTC_MS - MIN_UTC_MS + 1;
        check_written(MIN_UTC_MS + (want % span + span) % span);
        char clamped[DC_ISO_LEN + 1];
        dc_utc_format((struct dc_utc){want}, clamped);
        DC_ASSERT(want <= MAX_UTC_MS || strcmp(clamped, "9999-12-31T23:59:59.999Z") == 0);
        DC_ASSERT(want >= MIN_UTC_MS || strcmp(clamped, "0000-01-01T00:00:00.000Z") == 0);
    }
    return 0;
}
