// The option validator: what CREATE SERVER and CREATE USER MAPPING accept. It must never echo a key.

#include "account/options.h"

#include <cstdlib>

#include "core/api_request.h"
#include "core/url.h"
#include "pg/bridge.h"
#include "pg/server.h"

namespace imagekit::account {

namespace {

struct OptionRule {
  const char *name;
  Oid catalog;
  void (*check)(const char *name, const char *value);
};

void RejectValue(const char *name, const char *value, const char *why, const char *remedy) {
  ereport(ERROR,
          (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errmsg("invalid value for option \"%s\": \"%s\"", name, value),
           errdetail("%s", why), errhint("%s", remedy)));
}

// What the core's exception says, as an SQL error with the remedy.
void CheckPrefix(const char *name, const char *value) {
  pg::CallCxx([&] {
    try {
      CheckEndpoint(value);
    } catch (const EndpointError &error) {
      throw pg::SqlError(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                         std::string("invalid value for option \"") + name + "\": \"" + value + "\"",
                         std::string("The URL prefix cannot be used: ") + error.what() + ".",
                         "Give the prefix that your image URLs begin with, like https://ik.imagekit.io/your_id or "
                         "https://images.example.com.");
    }
  });
}

void CheckAliases(const char *name, const char *value) {
  ListCell *cell;
  foreach (cell, SplitList(value)) CheckPrefix(name, static_cast<char *>(lfirst(cell)));
}

// https anywhere; plain http only where nobody can listen in.
void CheckApiUrl(const char *name, const char *value) {
  pg::CallCxx([&] {
    try {
      (void)ReadApiUrl(value);
    } catch (const std::invalid_argument &error) {
      throw pg::SqlError(
          ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
          std::string("invalid value for option \"") + name + "\": \"" + value + "\"",
          std::string("The private key would be sent there: ") + error.what() + ".",
          "Leave the option out for https://api.imagekit.io. Plain http is allowed to a loopback address "
          "only, for tests.");
    }
  });
}

void CheckInterval(const char *name, const char *value) {
  Interval *interval = nullptr;
  MemoryContext before = CurrentMemoryContext;
  // interval_in's own error names no option. Nothing but memory is at stake, so no subtransaction is needed.
  PG_TRY();
  {
    interval = DatumGetIntervalP(
        DirectFunctionCall3(interval_in, CStringGetDatum(value), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(before);
    FlushErrorState();
    RejectValue(name, value, "It is not an interval.", "Give an interval like '1 day' or '0'.");
  }
  PG_END_TRY();
  if (interval->time < 0 || interval->day < 0 || interval->month < 0)
    RejectValue(name, value, "A wait cannot be negative.", "Give an interval like '1 day' or '0'.");
  if (IsTooLong(*interval))
    RejectValue(name, value, "A wait is at most ten years.", "Give an interval like '1 day' or '0'.");
}

void CheckBool(const char *name, const char *value) {
  bool ignored;
  if (!parse_bool(value, &ignored)) RejectValue(name, value, "It is not a boolean.", "Give 'true' or 'false'.");
}

void CheckRate(const char *name, const char *value) {
  char *end = nullptr;
  double rate = strtod(value, &end);
  if (end == value || *end != '\0' || !(rate >= 0.01 && rate <= 1000))
    RejectValue(name, value, "It is not a number between 0.01 and 1000.",
                "Give requests per second; ImageKit's published ceiling is 40 reads and 5 writes.");
}

void CheckBurst(const char *name, const char *value) {
  char *end = nullptr;
  double burst = strtod(value, &end);
  if (end == value || *end != '\0' || !(burst >= 1 && burst <= 1000))
    RejectValue(name, value, "It is not a number between 1 and 1000.",
                "Give how many requests may be sent at once after a pause.");
}

void CheckSize(const char *name, const char *value) {
  char *end = nullptr;
  long size = strtol(value, &end, 10);
  if (end == value || *end != '\0' || size < 1 || size > 100)
    RejectValue(name, value, "It is not a whole number between 1 and 100.",
                "Give how many files one request may be for; ImageKit takes no more than 100 in a delete.");
}

bool IsOff(const char *value) { return strcmp(value, "off") == 0; }

void CheckLimit(const char *name, const char *value) {
  char *end = nullptr;
  errno = 0;
  long long limit = strtoll(value, &end, 10);
  if (!IsOff(value) && (end == value || *end != '\0' || errno != 0 || limit < 0 || limit > PG_INT32_MAX))
    RejectValue(name, value, "It is not a number of files.", "Give a whole number, or 'off' for no limit.");
}

void CheckFraction(const char *name, const char *value) {
  char *end = nullptr;
  double fraction = strtod(value, &end);
  if (!IsOff(value) && (end == value || *end != '\0' || !(fraction >= 0 && fraction <= 1)))
    RejectValue(name, value, "It is not a number between 0 and 1.",
                "Give the share of a table's files, like '0.5', or 'off' for no limit.");
}

void CheckWindow(const char *name, const char *value) {
  if (!IsOff(value)) CheckInterval(name, value);
}

void CheckPeriod(const char *name, const char *value) {
  CheckWindow(name, value);
  if (IsOff(value)) return;
  const Interval *every = DatumGetIntervalP(
      DirectFunctionCall3(interval_in, CStringGetDatum(value), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  if (every->time <= 0 && every->day <= 0 && every->month <= 0)
    RejectValue(name, value, "There is no end of audits then.", "Give a positive time, like '7 days', or 'off'.");
}

// "22-5": from ten in the evening to five in the morning.
void CheckHours(const char *name, const char *value) {
  char *end = nullptr;
  const long from = strtol(value, &end, 10);
  const bool dash = end != value && *end == '-' && isdigit(static_cast<unsigned char>(end[1]));
  char *last = nullptr;
  const long to = dash ? strtol(end + 1, &last, 10) : -1;
  if (!isdigit(static_cast<unsigned char>(value[0])) || !dash || *last != '\0' || from > 23 || to > 24 || from == to)
    RejectValue(name, value, "It is not a time of the day.", "Give two hours, like '1-5' or '22-4'.");
}

void CheckShare(const char *name, const char *value) {
  char *end = nullptr;
  const double share = strtod(value, &end);
  if (end == value || *end != '\0' || !(share >= 0.01 && share <= 1))
    RejectValue(name, value, "It is not a number between 0.01 and 1.",
                "Give the share of read_rate that audits may use, like '0.25'.");
}

void CheckProtect(const char *name, const char *value) {
  ListCell *cell;
  foreach (cell, SplitList(value)) {
    auto *pattern = static_cast<char *>(lfirst(cell));
    if (pattern[0] != '/' && pattern[0] != '*')
      RejectValue(name, pattern, "It is not a library path.",
                  "Begin paths and globs with a slash, like /logos/* or /brand/logo.png.");
  }
}

// The key never appears in a message, not even in part.
void CheckKey(const char *name, const char *value) {
  bool good = value[0] != '\0';
  for (const char *c = value; *c != '\0'; c++) good = good && *c > ' ' && *c < 0x7F && *c != ':';
  if (!good)
    ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE), errmsg("invalid value for option \"%s\"", name),
                    errdetail("A key is printable ASCII without spaces and colons. The value is not shown."),
                    errhint("Copy the private key (private_...) from ImageKit's dashboard, page Developer options.")));
}

void CheckKeyFile(const char *name, const char *value) {
  if (!superuser())
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("only a superuser may set option \"%s\"", name),
                    errdetail("The server reads the file with its own rights."),
                    errhint("Use option \"private_key\", or ask a superuser.")));
  if (!is_absolute_path(value))
    RejectValue(name, value, "The path is not absolute.", "Give the file's whole path on the server.");
}

constexpr Oid kServer = ForeignServerRelationId;
constexpr Oid kMapping = UserMappingRelationId;

// One option a line.
// clang-format off
const OptionRule kOptions[] = {
    {"url_endpoint", kServer, CheckPrefix},
    {"url_aliases", kServer, CheckAliases},
    {"api_url", kServer, CheckApiUrl},
    {"grace_period", kServer, CheckInterval},
    {"protect", kServer, CheckProtect},
    {"dry_run", kServer, CheckBool},
    {"allow_missing", kServer, CheckBool},
    {"read_rate", kServer, CheckRate},
    {"read_burst", kServer, CheckBurst},
    {"write_rate", kServer, CheckRate},
    {"write_burst", kServer, CheckBurst},
    {"search_size", kServer, CheckSize},
    {"bulk_size", kServer, CheckSize},
    {"purge_cache", kServer, CheckBool},
    {"purges_per_month", kServer, CheckLimit},
    {"max_deletes_per_hour", kServer, CheckLimit},
    {"hold_above", kServer, CheckLimit},
    {"hold_fraction", kServer, CheckFraction},
    {"hold_window", kServer, CheckWindow},
    {"audit_every", kServer, CheckPeriod},
    {"audit_hours", kServer, CheckHours},
    {"audit_time_limit", kServer, CheckWindow},
    {"audit_share", kServer, CheckShare},
    {"private_key", kMapping, CheckKey},
    {"private_key_file", kMapping, CheckKeyFile},
};
// clang-format on

const char *CatalogWord(Oid catalog) {
  return catalog == kServer ? "a server" : catalog == kMapping ? "a user mapping" : "this object";
}

void RejectName(const char *name, Oid catalog) {
  StringInfoData valid;
  initStringInfo(&valid);
  const OptionRule *elsewhere = nullptr;
  for (const OptionRule &rule : kOptions) {
    if (rule.catalog == catalog) appendStringInfo(&valid, "%s%s", valid.len > 0 ? ", " : "", rule.name);
    if (strcmp(rule.name, name) == 0) elsewhere = &rule;
  }
  ereport(ERROR,
          (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
           elsewhere != nullptr
               ? errdetail("It is an option of %s, not of %s.", CatalogWord(elsewhere->catalog), CatalogWord(catalog))
               : errdetail("The wrapper imagekit has no such option for %s.", CatalogWord(catalog)),
           valid.len > 0 ? errhint("Valid options here: %s.", valid.data)
                         : errhint("Set options on the server (CREATE SERVER) or the user mapping.")));
}

}  // namespace

List *SplitList(const char *text) {
  List *items = NIL;
  for (const char *start = text; start != nullptr;) {
    const char *comma = strchr(start, ',');
    const char *end = comma != nullptr ? comma : start + strlen(start);
    while (start < end && isspace(static_cast<unsigned char>(*start))) start++;
    while (end > start && isspace(static_cast<unsigned char>(end[-1]))) end--;
    if (end > start) items = lappend(items, pnstrdup(start, end - start));
    start = comma != nullptr ? comma + 1 : nullptr;
  }
  return items;
}

double RateValue(const char *text) { return strtod(text, nullptr); }

bool BoolValue(const char *text) {
  bool value = false;
  (void)parse_bool(text, &value);
  return value;
}

// "off" is no number, and read as 0.
int64 LimitValue(const char *text) { return strtoll(text, nullptr, 10); }

double FractionValue(const char *text) { return strtod(text, nullptr); }

int64 WindowValue(const char *text) {
  if (IsOff(text)) return 0;
  const Interval *interval = DatumGetIntervalP(
      DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  return interval->time + (interval->day + int64{interval->month} * DAYS_PER_MONTH) * USECS_PER_DAY;
}

}  // namespace imagekit::account

extern "C" {

IMAGEKIT_SQL_FUNCTION(imagekit_validate_options);

// validate_options(options text[], catalog oid): the FDW's validator.
Datum imagekit_validate_options(PG_FUNCTION_ARGS) {
  using namespace imagekit::account;
  List *options = untransformRelOptions(PG_GETARG_DATUM(0));
  Oid catalog = PG_GETARG_OID(1);
  bool has_endpoint = false, has_key = false, has_key_file = false;

  ListCell *cell;
  foreach (cell, options) {
    auto *option = static_cast<DefElem *>(lfirst(cell));
    const OptionRule *found = nullptr;
    for (const OptionRule &rule : kOptions)
      if (rule.catalog == catalog && strcmp(rule.name, option->defname) == 0) found = &rule;
    if (found == nullptr) RejectName(option->defname, catalog);
    found->check(option->defname, defGetString(option));
    has_endpoint |= strcmp(option->defname, "url_endpoint") == 0;
    has_key |= strcmp(option->defname, "private_key") == 0;
    has_key_file |= strcmp(option->defname, "private_key_file") == 0;
  }

  if (catalog == ForeignServerRelationId && !has_endpoint)
    ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND), errmsg("option \"url_endpoint\" is missing"),
                    errdetail("Without it no URL in a row can be recognised as this account's."),
                    errhint("Add OPTIONS (url_endpoint 'https://ik.imagekit.io/your_id').")));
  if (catalog == UserMappingRelationId && has_key == has_key_file)
    ereport(ERROR,
            (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
             has_key ? errmsg("options \"private_key\" and \"private_key_file\" exclude each other")
                     : errmsg("option \"private_key\" is missing"),
             errdetail("Deleting files needs exactly one key of the account."),
             errhint("Set OPTIONS (private_key 'private_...'), or private_key_file with a path on the server.")));
  PG_RETURN_VOID();
}
}
