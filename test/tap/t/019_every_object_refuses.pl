# Every object of schema imagekit, as the catalogs have them, refuses a role that was granted nothing but the schema; so does all that
# README's recipes do not name refuse the roles that they are for, while what they are for works.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# Does what it is told, as whoever calls it. A call that is let through is taken back.
$t->sql(q{
	CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE command;
		RAISE 'let through';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLERRM;
	END $$});

# One row for each function, procedure, table, view and sequence: name, and a command that uses it. Arguments are not plain NULLs: the
# planner would answer for a strict function, and nobody would be asked whether it may be called.
my $objects = q{
	SELECT p.oid::regprocedure::text AS object, p.proname::text AS name,
	       format(CASE p.prokind WHEN 'p' THEN 'CALL imagekit.%I(%s)' ELSE 'SELECT imagekit.%I(%s)' END, p.proname,
	              (SELECT string_agg(format(CASE p.prokind WHEN 'p' THEN 'NULL::%1$s' ELSE '(SELECT NULL::%1$s)' END,
	                                        replace(format_type(a.type, NULL), 'anyelement', 'text')), ', ' ORDER BY a.n)
	               FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a(type, n))) AS command
	FROM pg_proc p WHERE p.pronamespace = 'imagekit'::regnamespace AND 'internal'::regtype <> ALL (p.proargtypes)
	UNION ALL
	SELECT c.oid::regclass::text, c.relname::text, 'SELECT * FROM ' || c.oid::regclass
	FROM pg_class c WHERE c.relnamespace = 'imagekit'::regnamespace AND c.relkind NOT IN ('i', 'I', 'c', 't')};

# What does not refuse the role.
sub let_through
{
	my ($role) = @_;
	return $t->sql(qq{
		SET ROLE $role;
		SELECT coalesce(string_agg(o.name, ' ' ORDER BY o.name), 'nothing') FROM ($objects) o
		WHERE public.attempt(o.command) !~ ('^permission denied for (function|procedure|table|view|sequence) ' || o.name || '\$')});
}

# Writing, to what holds rows.
sub writable
{
	my ($role) = @_;
	return $t->sql(qq{
		SELECT coalesce(string_agg(c.relname, ' ' ORDER BY c.relname), 'nothing') FROM pg_class c
		WHERE c.relnamespace = 'imagekit'::regnamespace AND CASE c.relkind
			WHEN 'S' THEN has_sequence_privilege('$role', c.oid, 'USAGE, UPDATE')
			WHEN 'i' THEN false
			ELSE has_any_column_privilege('$role', c.oid, 'INSERT, UPDATE, REFERENCES')
			  OR has_table_privilege('$role', c.oid, 'DELETE, TRUNCATE, TRIGGER') END});
}

# A role with nothing ------------------------------------------------------------------------------------------------------

cmp_ok($t->sql("SELECT count(*) FROM ($objects) o"), '>=', 30, 'the catalogs name the objects');
$t->sql('CREATE ROLE stranger; GRANT USAGE ON SCHEMA imagekit TO stranger');
is(let_through('stranger'), 'nothing', 'each function, procedure, table, view and sequence refuses a stranger');
is($t->sql(q{SELECT string_agg(p.proname, ' ') FROM pg_proc p
	WHERE p.pronamespace = 'imagekit'::regnamespace AND has_function_privilege('stranger', p.oid, 'EXECUTE')}), '',
	'nor could it call what SQL cannot call');
is(writable('stranger'), 'nothing', 'as does each way to write');
is($t->sql(q{
	SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'imagekit'::regnamespace AND a.attacl IS NOT NULL}), 0, 'no single column is open to anybody');
is($t->sql(q{SET ROLE stranger; SELECT public.attempt('CREATE TABLE imagekit.trap ()')}), 'permission denied for schema imagekit', 'as does the schema');

# README's recipes ---------------------------------------------------------------------------------------------------------

my ($section) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^## Privileges\n(.*?)^## /ms or die 'README has no section Privileges';
my ($recipes) = $section =~ /^```sql\n(.*?)^```/ms or die 'README has no recipes';
my %granted = (
	app_owner => 'unwaive unwatch waive watch',
	exporter => 'latency_metrics library_metrics measure measure_libraries metrics request_metrics',
	monitor => 'account_of account_problem audit_overdue audits grace_of history next_audits pending schedule_zone service status unpack watched within_hours',
	operator => 'account_of account_problem approve audit audit_overdue audits can_search can_watch cancel column_problem dangling delete_file delete_files delete_orphans discard doubtful drain enqueue explain find_unwatched forget_dropped grace_of history is_waived next_audits orphans pause pending references references resume retry scan_unwatched schedule_zone search_unwatched service sources_of status storage storage_by_folder storage_by_owner storage_by_table tables_to_search unpack unwatched_columns unwatched_problem unwatched_refusals usage_history waive_statement waivers watch_statement watch_target watched within_hours',
	reader => 'report');
$t->sql(join('', map { "CREATE ROLE $_;" } sort keys %granted));
is(join(' ', sort keys %{ { map { $_ => 1 } $recipes =~ /\bTO (\w+);/g } }), join(' ', sort keys %granted), 'the roles README has recipes for');
$t->sql($recipes);
for my $role (sort keys %granted)
{
	is(let_through($role), $granted{$role}, "README's recipe gives $role what it says and nothing else");
	is(writable($role), 'nothing', "$role writes to no table");
}

# They suffice.
$t->sql('CREATE SCHEMA shop AUTHORIZATION app_owner');
$imagekit->seed(map { "/$_.jpg" } qw(owned queued one many drained));
$t->sql(qq{
	SET ROLE app_owner;
	CREATE TABLE shop.goods (image text);
	SELECT imagekit.watch('shop.goods', '{image}');
	INSERT INTO shop.goods VALUES ('$ENDPOINT/owned.jpg');
	DELETE FROM shop.goods});
eventually { $t->files(prefix => '/owned') } '', 'app_owner watches its table, and what it deletes goes';
is($t->sql(q{SET ROLE app_owner; SELECT imagekit.unwatch('shop.goods')}), 't', 'and unwatches it');
like($t->messages(q{SET ROLE app_owner; SELECT imagekit.watch('public.patches', '{images}')}), qr/ERROR:  must be owner of table patches/, 'no other');

$t->sql('SELECT imagekit.disable()');
$t->sql("SET ROLE operator; SELECT imagekit.enqueue('{$ENDPOINT/queued.jpg}')");
is($t->sql(q{SET ROLE monitor; SELECT (SELECT count(s.*) FROM imagekit.status s), (SELECT count(p.*) FROM imagekit.pending p),
	(SELECT count(h.*) FROM imagekit.history h), (SELECT count(w.*) FROM imagekit.watched w)}), '1|1|1|2', 'monitor sees what there is');
is($t->sql(q{SET ROLE exporter; SELECT m.queue_depth, (SELECT count(*) FROM imagekit.request_metrics) > 0, (SELECT count(*) FROM imagekit.latency_metrics) > 0
	FROM imagekit.metrics m}), '1|t|t', 'exporter sees the figures');
$t->sql('SELECT imagekit.enable()');
eventually { $t->files(prefix => '/queued') } '', 'operator queues';
is($t->sql("SET ROLE operator; SELECT imagekit.delete_file('$ENDPOINT/one.jpg')"), 't', 'deletes a file');
is($t->sql("SET ROLE operator; SELECT outcome FROM imagekit.delete_files('{$ENDPOINT/many.jpg}')"), 'deleted', 'or many');
$t->sql("BEGIN; SET LOCAL ROLE operator; SELECT imagekit.enqueue('{$ENDPOINT/drained.jpg}'); COMMIT; SET ROLE operator; CALL imagekit.drain()");
eventually { $t->files } '', 'and drains';
is($t->sql(q{SET ROLE operator; SELECT imagekit.pause('acme', 'a test'); SELECT imagekit.resume('acme')}), "1\n1", 'pauses and resumes');
$imagekit->seed({ filePath => '/orphan.jpg', createdAt => '2024-05-01T10:00:00.000Z' });
$t->sql(q{SET ROLE operator; CALL imagekit.audit('acme'); CALL imagekit.audit(); CALL imagekit.search_unwatched()});
is($t->sql(q{SET ROLE operator; SELECT path, (SELECT outcome || files FROM imagekit.delete_orphans('acme', apart => '0', max_fraction => 1) LIMIT 1) FROM imagekit.orphans}),
	'/orphan.jpg|would be queued1', 'audits, and sees what it finds');
is($t->sql(q{SET ROLE operator; SELECT detail FROM imagekit.delete_orphans('acme', apart => '0', max_fraction => 1) WHERE outcome = 'refused'}), 'no row of any watched table uses a file of it: is the right database audited, with the right prefixes? See imagekit.watched',
	'and has searched all tables: nothing else is in its way');

done_testing();
