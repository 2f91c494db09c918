# The worker is a superuser's process in a database that others furnish. Settings of the database, look-alike objects on its
# search_path, row security: none of it changes what the worker does, or runs with its rights. And nothing at all in schema
# imagekit is open to PUBLIC.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# PUBLIC ----------------------------------------------------------------------------------------------------------------

$t->sql('CREATE ROLE nobody; CREATE ROLE app LOGIN');
is($t->sql(q{
	SELECT coalesce(string_agg(p.oid::regprocedure::text, ', '), 'nothing') FROM pg_proc p
	WHERE p.pronamespace = 'imagekit'::regnamespace AND has_function_privilege('nobody', p.oid, 'EXECUTE')}),
	'nothing', 'PUBLIC may execute nothing of schema imagekit');
is($t->sql(q{
	SELECT coalesce(string_agg(c.oid::regclass::text, ', '), 'nothing') FROM pg_class c
	WHERE c.relnamespace = 'imagekit'::regnamespace AND c.relkind IN ('r', 'v', 'S')
	AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege('nobody', c.oid, 'USAGE, SELECT, UPDATE')
	    ELSE has_table_privilege('nobody', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END}),
	'nothing', 'nor read or write any of its tables, views and sequences');
is($t->sql(q{SELECT has_schema_privilege('nobody', 'imagekit', 'USAGE, CREATE')}), 'f', 'nor use the schema');
is($t->sql(q{SELECT has_foreign_data_wrapper_privilege('nobody', 'imagekit', 'USAGE')}), 'f', 'nor the wrapper');

# Look-alikes on the search_path ------------------------------------------------------------------------------------------

# Each would shadow, or fit better than, what the worker's statements mean; each leaves a trace of who called it.
$t->sql(q{
	CREATE SCHEMA trap;
	CREATE TABLE trap.calls (what text, who text, superuser text);
	CREATE FUNCTION trap.caught(what text) RETURNS text LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO trap.calls VALUES (what, current_user, current_setting('is_superuser')); RETURN what; END $$;
	CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('now'); RETURN 'infinity'; END $$;
	CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('clock_timestamp'); RETURN 'infinity'; END $$;
	CREATE FUNCTION trap.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('unnest'); END $$;
	CREATE FUNCTION trap.url_key(text) RETURNS text LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('url_key'); RETURN ''; END $$;
	CREATE FUNCTION trap.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('text = text'); RETURN true; END $$;
	CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.equal);
	CREATE FUNCTION trap.equal(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('oid = oid'); RETURN true; END $$;
	CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.equal);
	CREATE FUNCTION trap.plus(timestamptz, interval) RETURNS timestamptz LANGUAGE plpgsql AS
		$$ BEGIN PERFORM trap.caught('timestamptz + interval'); RETURN 'infinity'; END $$;
	CREATE OPERATOR trap.+ (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = trap.plus);
	CREATE VIEW trap.outbox AS SELECT trap.caught('outbox');
	CREATE VIEW trap.pg_class AS SELECT 1 AS oid;
	CREATE VIEW trap.pg_trigger AS SELECT 1 AS oid;
	CREATE TABLE trap.patches (id int, images text[], schema jsonb);
	GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA trap TO PUBLIC;

	GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.patches TO app;
	ALTER DATABASE postgres SET search_path = trap, pg_catalog, public;
	ALTER DATABASE postgres SET role = 'nobody';
	ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET row_security = off;
	ALTER DATABASE postgres SET quote_all_identifiers = on;
	ALTER DATABASE postgres SET bytea_output = 'escape';
	ALTER DATABASE postgres SET datestyle = 'German';
	ALTER DATABASE postgres SET intervalstyle = 'sql_standard';
	ALTER DATABASE postgres SET timezone = 'Pacific/Kiritimati';
	ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '1ms';
	ALTER DATABASE postgres SET array_nulls = off});
wait_for { $t->sql(q{SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type OPERATOR(pg_catalog.=) 'imagekit_cleanup worker'}) eq '0' }
  'the worker leaves; the next one starts with these settings';

$imagekit->seed('/a.jpg', '/b.jpg', '/t.jpg', '/kept.jpg');
sub app_may { my ($sql, $name) = @_; is($t->messages("SET idle_in_transaction_session_timeout = 0; SET ROLE app; $sql"), '', $name); return; }
app_may("INSERT INTO public.patches VALUES (1, '{$ENDPOINT/a.jpg,$ENDPOINT/kept.jpg}'), (2, '{$ENDPOINT/b.jpg,$ENDPOINT/kept.jpg}')", 'the application writes');
app_may("UPDATE public.patches SET images = '{$ENDPOINT/kept.jpg}' WHERE id OPERATOR(pg_catalog.=) 2", 'changes');
app_may('DELETE FROM public.patches WHERE id OPERATOR(pg_catalog.=) 1', 'and deletes rows');
eventually { $t->files } '/kept.jpg /t.jpg', 'the worker does the same as ever in a hostile database';
is($t->sql(q{SET ROLE NONE; SELECT outcome FROM imagekit.history WHERE url OPERATOR(pg_catalog.~) 'kept'}), 'kept',
	'and finds what is still used');
app_may("TRUNCATE public.patches", 'TRUNCATE, too');
eventually { $t->files } '/t.jpg', 'is captured';
is($t->sql(q{SET ROLE NONE; SELECT pg_catalog.string_agg(what || ' as ' || who, ', ') FROM trap.calls}), '', 'no look-alike was called by anybody');
$t->sql(q{SET ROLE NONE; SELECT FROM pg_catalog.pg_class WHERE 'a'::text = 'b'::text LIMIT 1});
is($t->sql('SET ROLE NONE; DELETE FROM trap.calls RETURNING what'), 'text = text', 'though they are in the way of whoever names them carelessly');

# By hand, in a session with such settings.
is($t->sql("SET ROLE NONE; SELECT imagekit.delete_file('$ENDPOINT/t.jpg')"), 't', 'delete_file() works with them');
is($t->sql("SET ROLE NONE; CALL imagekit.drain(); SELECT pg_catalog.count(*) FROM trap.calls"), '0', 'so does drain(), and calls none of them');

# A database that is read-only by default -----------------------------------------------------------------------------------

$t->sql('SET ROLE NONE; SET idle_in_transaction_session_timeout = 0; ALTER DATABASE postgres RESET ALL;
	ALTER DATABASE postgres SET default_transaction_read_only = on');
wait_for { $t->worker eq '' } 'the worker leaves';
$imagekit->seed('/ro.jpg');
$t->sql("SET default_transaction_read_only = off; INSERT INTO patches VALUES (3, '{$ENDPOINT/ro.jpg}'); DELETE FROM patches");
eventually { $t->files } '', 'default_transaction_read_only is for people, not for the worker';
$t->sql('SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL');

# Row security --------------------------------------------------------------------------------------------------------------

$t->sql(qq{
	ALTER TABLE patches ENABLE ROW LEVEL SECURITY; ALTER TABLE patches FORCE ROW LEVEL SECURITY;
	CREATE POLICY own ON patches USING (id > 10);
	INSERT INTO patches VALUES (9, '{$ENDPOINT/hidden.jpg}'), (11, '{$ENDPOINT/hidden.jpg,$ENDPOINT/open.jpg}')});
$imagekit->seed('/hidden.jpg', '/open.jpg');
is($t->messages('SET ROLE app; DELETE FROM patches'), '', 'a role that sees only some rows deletes them');
eventually { $t->files } '/hidden.jpg', 'what rows it cannot see still use is kept';

done_testing();
