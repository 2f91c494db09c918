// The options of servers and user mappings of the wrapper `imagekit`: one table of names, meanings and checks.

#ifndef IMAGEKIT_ACCOUNT_OPTIONS_H
#define IMAGEKIT_ACCOUNT_OPTIONS_H

#include "pg/server.h"

namespace imagekit::account {

/// "a, b ,c" -> List of char *, trimmed, empty items dropped; in the current context.
List *SplitList(const char *text);

/// True for a wait of more than ten years: added to a time it could leave the range of timestamps.
inline bool IsTooLong(const Interval &interval) {
  return interval.month > 120 || interval.day > 3660 || interval.time > USECS_PER_DAY * 3660;
}

/// Value of an option as checked by the validator.
double RateValue(const char *text);
bool BoolValue(const char *text);
/// 0 for 'off'.
int64 LimitValue(const char *text);
double FractionValue(const char *text);
int64 WindowValue(const char *text);

}  // namespace imagekit::account

#endif  // IMAGEKIT_ACCOUNT_OPTIONS_H
