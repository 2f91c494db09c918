// The bridge's one half that is not a template: from the exception in flight to plain memory, and from there to ereport.

#include "pg/bridge.h"

#include <cstring>

namespace imagekit::pg {

namespace {

// Cuts on a character boundary: the text ends up in the server log and in clients that check its encoding.
void CopyText(char *target, size_t size, const char *source) noexcept {
  size_t length = strnlen(source, size - 1);
  while (length > 0 && (static_cast<unsigned char>(source[length]) & 0xC0) == 0x80) length--;
  memcpy(target, source, length);
  target[length] = '\0';
}

void Fill(CaughtException *caught, int sqlstate, const char *message, const char *detail = "",
          const char *hint = "") noexcept {
  caught->sqlstate = sqlstate;
  CopyText(caught->message, sizeof caught->message, message);
  CopyText(caught->detail, sizeof caught->detail, detail);
  CopyText(caught->hint, sizeof caught->hint, hint);
}

}  // namespace

void DescribeException(CaughtException *caught) noexcept {
  try {
    throw;
  } catch (const SqlError &error) {
    Fill(caught, error.sqlstate(), error.what(), error.detail().c_str(), error.hint().c_str());
  } catch (const std::bad_alloc &) {
    Fill(caught, ERRCODE_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    Fill(caught, ERRCODE_INTERNAL_ERROR, error.what());
  } catch (...) {
    Fill(caught, ERRCODE_INTERNAL_ERROR, "an exception of an unknown type was thrown");
  }
}

void RaiseCaught(const CaughtException &caught) {
  ereport(ERROR, (errcode(caught.sqlstate), errmsg("%s", caught.message),
                  caught.detail[0] != '\0' ? errdetail("%s", caught.detail) : 0,
                  caught.hint[0] != '\0' ? errhint("%s", caught.hint) : 0));
  pg_unreachable();
}

}  // namespace imagekit::pg
