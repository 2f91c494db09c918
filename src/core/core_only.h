// The ring guard: every .cpp of src/core includes this file last.
//
// src/core knows ImageKit and nothing of PostgreSQL, so that it can be unit-tested, sanitized and fuzzed without a
// server. Its headers may be included from the outer rings; a server header must never reach its sources.

#ifdef POSTGRES_H
#error "src/core must not include a PostgreSQL header"
#endif
