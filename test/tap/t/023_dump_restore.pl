# pg_dump and pg_restore of a database with watched tables: what is watched and how comes back, in whatever way it is dumped;
# what waits does not; and nothing is sent until somebody arms the copy.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $directory = PostgreSQL::Test::Utils::tempdir();

# The original ------------------------------------------------------------------------------------------------------------

# Columns dropped before: the restored tables number theirs differently. A source that names the column by its old number
# would look into another.
$t->sql(q{
	ALTER TABLE patches ADD COLUMN body text, DROP COLUMN schema, ADD COLUMN schema jsonb;
	SELECT imagekit.watch('patches', '{images, schema.imageUrl}');
	SELECT imagekit.watch('modules', '{images}', grace => '1 day', on_truncate => 'deny');

	CREATE SCHEMA "My Shop";
	CREATE TABLE "My Shop"."Odd.Table" (gone int, decoy text, "also gone" text, id int, "odd.name" text, "file's id" text, "owner id" int, doc json);
	ALTER TABLE "My Shop"."Odd.Table" DROP COLUMN gone, DROP COLUMN "also gone";
	SELECT imagekit.watch('"My Shop"."Odd.Table"', '{"\"odd.name\":file''s id", "doc.\"a.b\"[*].url"}', 'owner id', '3 days 2 hours', 'ignore', replication => 'always');

	CREATE TABLE parts (gone int, id int, region text, images varchar[]) PARTITION BY LIST (region);
	ALTER TABLE parts DROP COLUMN gone;
	CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
	CREATE TABLE parts_us (images varchar[], gone int, decoy text, region text, id int);
	ALTER TABLE parts_us DROP COLUMN gone, DROP COLUMN decoy;
	CREATE TABLE parts_rest (region text, images varchar[], id int) PARTITION BY RANGE (id);
	CREATE TABLE parts_rest_1 PARTITION OF parts_rest FOR VALUES FROM (1) TO (100);
	ALTER TABLE parts ATTACH PARTITION parts_us FOR VALUES IN ('us');
	SELECT imagekit.watch('parts', '{images}', replication => 'replica');
	ALTER TABLE parts ATTACH PARTITION parts_rest DEFAULT;

	CREATE TABLE ancestor (id int, image text);
	SELECT imagekit.watch('ancestor', '{image}');
	CREATE TABLE descendant (more text) INHERITS (ancestor);

	CREATE TABLE unwatched (id int, images text[]);
	SELECT imagekit.watch('unwatched', '{images}');
	SELECT imagekit.unwatch('unwatched')});

my $rows = qq{
	INSERT INTO patches (id, images, body, schema)
	VALUES (1, '{$ENDPOINT/patch.jpg}', '$ENDPOINT/not-watched.jpg', '{"imageUrl": "$ENDPOINT/patch-schema.jpg"}');
	INSERT INTO modules VALUES (1, '{$ENDPOINT/module.jpg}');
	INSERT INTO "My Shop"."Odd.Table" VALUES ('$ENDPOINT/decoy.jpg', 1, '$ENDPOINT/odd.jpg', 'f1', 7, '{"a.b": [{"url": "$ENDPOINT/odd-doc.jpg"}], "c": "$ENDPOINT/decoy.jpg"}');
	INSERT INTO parts VALUES (1, 'eu', '{$ENDPOINT/eu.jpg}'), (2, 'us', '{$ENDPOINT/us.jpg}'), (3, 'elsewhere', '{$ENDPOINT/rest.jpg}');
	INSERT INTO ancestor VALUES (1, '$ENDPOINT/ancestor.jpg');
	INSERT INTO descendant VALUES (2, '$ENDPOINT/descendant.jpg', '$ENDPOINT/decoy.jpg');
	INSERT INTO unwatched VALUES (1, '{$ENDPOINT/unwatched.jpg}')};
my $delete = q{
	DELETE FROM patches; DELETE FROM modules; DELETE FROM "My Shop"."Odd.Table"; DELETE FROM ancestor; DELETE FROM unwatched;
	SET session_replication_role = replica; DELETE FROM parts};
my $captured = join(' ', sort qw(patch.jpg patch-schema.jpg module.jpg odd.jpg odd-doc.jpg eu.jpg us.jpg rest.jpg ancestor.jpg descendant.jpg));

sub watched
{
	my ($db) = @_;
	return $t->sql('SELECT relation, sources, owner, grace, on_truncate, replication, active FROM imagekit.watched ORDER BY relation::text', $db);
}

# File names of all that is queued, those captured twice twice.
sub queued
{
	my ($db) = @_;
	return join(' ', sort split /\n/, $t->sql(q{SELECT regexp_replace(url, '.*/', '') FROM imagekit.pending}, $db));
}

sub state_rows
{
	my ($db) = @_;
	return $t->sql('SELECT (SELECT count(*) FROM imagekit.outbox), (SELECT count(*) FROM imagekit.backlog), (SELECT count(*) FROM imagekit.history)', $db);
}

# History, backlog and journal all hold something.
$t->insert(1, 'settled.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->history } 'deleted settled.jpg', 'the original has a history';
$imagekit->seed(map { "/$_" } split(/ /, $captured), 'decoy.jpg', 'not-watched.jpg', 'unwatched.jpg', 'waits.jpg', 'later.jpg');
my $all_files = $t->files;
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/later.jpg}', '1 hour'); SELECT imagekit.disable()");
$t->sql("INSERT INTO patches VALUES (2, '{$ENDPOINT/waits.jpg}'); DELETE FROM patches");
$t->sql($rows);
is(state_rows(), '1|1|1', 'a backlog and a journal');
my $watched = watched();
is($watched, join("\n",
		q{"My Shop"."Odd.Table"|{"\"odd.name\":file's id","doc.\"a.b\"[*].url"}|owner id|3 days 02:00:00|ignore|always|t},
		'ancestor|{image}|||capture|origin|t',
		'modules|{images}||1 day|deny|origin|t',
		'parts|{images}|||capture|replica|t',
		'patches|{images,schema.imageUrl}|||capture|origin|t'),
	'what is watched in the original');

# A restored database -------------------------------------------------------------------------------------------------------

sub run_ok
{
	my ($name, @command) = @_;
	my $errors = '';
	my $done = IPC::Run::run(\@command, '<', \undef, '>', \my $output, '2>', \$errors);
	is(($done ? 'done' : 'failed') . " $errors", 'done ', "$name without an error or a warning");
	return;
}

# Everything that must be true of a complete copy.
sub check_copy
{
	my ($db, $name) = @_;
	is(watched($db), $watched, "$name: the same tables are watched, in the same way");
	is(state_rows($db), '0|0|0', "$name: what waited, and the history, are not in the copy");
	is($t->status($db), 'stopped', "$name: the copy is not armed");
	like($t->cause($db), qr/^imagekit\.enable\(\) has not been called in this database$/, "$name: and status says so in words");
	$t->sql($delete, $db);
	is(queued($db), $captured, "$name: deletes are captured, each URL once, and none of other columns");
	stays { $t->files } $all_files, "$name: and nothing is sent";
	return;
}

# The schema's settings and the triggers as a dump of DB holds them.
sub dumped_settings
{
	my ($db) = @_;
	my ($dump, $errors) = run_command([ 'pg_dump', '-d', $node->connstr($db) ]);
	my ($config) = $dump =~ /^(COPY imagekit\.watch_config .*?)^\\\.$/ms;
	# The order of the rows means nothing.
	return join("\n", sort split /\n/, $config // 'no settings') . "\n"
	  . join("\n", sort grep { /^CREATE TRIGGER|^ALTER TABLE .* TRIGGER|^CREATE SERVER|^CREATE USER MAPPING/ } split /\n/, $dump);
}

my %dumps = (
	custom => [ '-Fc' ],
	plain => [],
	directory => [ '-Fd', '-j', '2' ],
	inserts => [ '--inserts', '--no-owner', '--quote-all-identifiers' ]);
for my $format (sort keys %dumps)
{
	my $file = "$directory/$format";
	my $db = "copy_$format";
	$t->sql("CREATE DATABASE $db");
	run_ok("pg_dump, $format,", 'pg_dump', @{ $dumps{$format} }, '-f', $file, '-d', $node->connstr('postgres'));
	if ($format eq 'plain' || $format eq 'inserts')
	{
		run_ok("psql of the $format dump", 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', $file);
	}
	else
	{
		run_ok("pg_restore, $format,", 'pg_restore', '--exit-on-error', '-j', $format eq 'directory' ? 2 : 1, '-d', $node->connstr($db), $file);
	}
	is(dumped_settings($db), dumped_settings('postgres'), "$format: a dump of the copy has the same settings and triggers as one of the original");
	check_copy($db, $format);
}
unlike(dumped_settings('postgres'), qr/no settings/, 'the compared dumps do have settings');
like(dumped_settings('postgres'), qr/CREATE TRIGGER imagekit_capture .*My Shop/, 'and triggers');

# Again over it: --clean --if-exists drops what is there, the queue of the copy included.
run_ok('pg_restore --clean --if-exists', 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', $node->connstr('copy_custom'), "$directory/custom");
check_copy('copy_custom', '--clean --if-exists');
# In one transaction, where every trigger of ours runs after every object of ours may have gone.
run_ok('pg_restore --clean --single-transaction', 'pg_restore', '--clean', '--if-exists', '--single-transaction', '-d', $node->connstr('copy_custom'), "$directory/custom");
check_copy('copy_custom', '--clean --single-transaction');

# First the schema, then the data: between the two there are triggers, and no settings.
$t->sql('CREATE DATABASE copy_in_two');
run_ok('pg_restore --schema-only', 'pg_restore', '--exit-on-error', '--schema-only', '-d', $node->connstr('copy_in_two'), "$directory/custom");
is($t->messages("INSERT INTO modules VALUES (9, '{$ENDPOINT/between.jpg}'); UPDATE modules SET id = 10; DELETE FROM modules", 'copy_in_two') =~ s/^.*?WARNING.*\n(?:.*?(?:DETAIL|HINT).*\n?)*//gmr,
	'', 'with the schema alone rows can be changed and deleted');
$t->sql('DELETE FROM imagekit.outbox', 'copy_in_two');
run_ok('pg_restore --data-only', 'pg_restore', '--exit-on-error', '--data-only', '-d', $node->connstr('copy_in_two'), "$directory/custom");
check_copy('copy_in_two', '--schema-only, then --data-only');

# The settings alone, into a database that has the tables and the extension.
run_ok('pg_dump -t imagekit.watch_config', 'pg_dump', '--data-only', '-t', 'imagekit.watch_config', '-f', "$directory/settings", '-d', $node->connstr('postgres'));
$t->sql('CREATE DATABASE copy_of_settings');
run_ok('pg_restore --schema-only', 'pg_restore', '--exit-on-error', '--schema-only', '-d', $node->connstr('copy_of_settings'), "$directory/custom");
run_ok('psql of the settings', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy_of_settings'), '-f', "$directory/settings");
$t->sql($rows, 'copy_of_settings');
check_copy('copy_of_settings', 'schema and settings');

# Many tables in parallel: a job that sees to one table must not stand in another's way. Which jobs meet is chance, hence three times.
$t->sql('CREATE DATABASE many');
$t->prepare(db => 'many', enable => 0);
$t->sql(join(';', map { qq{
	CREATE TABLE t$_ (id int PRIMARY KEY, note text, images text[]);
	CREATE INDEX ON t$_ (note);
	SELECT imagekit.watch('t$_', '{images}')} } 1 .. 40), 'many');
$t->sql(join(';', map { "ALTER TABLE t$_ ADD FOREIGN KEY (id) REFERENCES t" . ($_ % 40 + 1) } 1 .. 40), 'many');
run_ok('pg_dump of many tables', 'pg_dump', '-Fd', '-f', "$directory/many", '-d', $node->connstr('many'));
for my $copy ('many_1', 'many_2', 'many_3')
{
	$t->sql("CREATE DATABASE $copy");
	run_ok('pg_restore of many tables, -j 8,', 'pg_restore', '-j', 8, '-d', $node->connstr($copy), "$directory/many");
	is($t->sql('SELECT count(*) FROM imagekit.watched WHERE active', $copy), 42, 'all of them are watched');
}

# One table ---------------------------------------------------------------------------------------------------------------

run_ok('pg_dump -t', 'pg_dump', '-t', 'patches', '-f', "$directory/table", '-d', $node->connstr('postgres'));

$t->sql('CREATE DATABASE without_extension');
my ($output, $errors) = run_command([ 'psql', '-X', '-q', '-o', '/dev/null', '-d', $node->connstr('without_extension'), '-f', "$directory/table" ]);
like($errors, qr/ERROR:  schema "imagekit" does not exist/, 'a watched table alone, restored where the extension is missing: the trigger cannot be made');
is((() = $errors =~ /ERROR:  schema "imagekit" does not exist/g), 3, 'nor the second one and the index') or diag $errors;
is((() = $errors =~ /ERROR/g), 3, 'and nothing else fails') or diag $errors;
is($t->sql('SELECT count(*) FROM patches', 'without_extension'), 1, 'the table is there, with its rows');
is($t->messages('DELETE FROM patches', 'without_extension'), '', 'and works');

$t->sql('CREATE DATABASE with_extension');
$t->prepare(db => 'with_extension', enable => 0);
$t->sql(q{SELECT imagekit.unwatch('patches'); DROP TABLE patches}, 'with_extension');
run_ok('psql of one table', 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('with_extension'), '-f', "$directory/table");
is($t->sql('SELECT relation FROM imagekit.watched', 'with_extension'), 'modules', 'a trigger without settings makes no watched table');
my $messages = $t->messages(q{UPDATE patches SET id = id + 1, images = NULL}, 'with_extension');
unlike($messages, qr/ERROR/, 'its rows can be changed');
like($messages, qr/WARNING:.*patches.*imagekit\.watch\(/s, 'with a warning that they are not watched, and what to do');
is(queued('with_extension'), '', 'for nothing is captured');
$t->sql(q{SELECT imagekit.watch('patches', '{images, schema.imageUrl}')}, 'with_extension');
is($t->messages('DELETE FROM patches', 'with_extension'), '', 'until imagekit.watch() is called');
is(queued('with_extension'), 'patch-schema.jpg', 'then deletes are captured, once');

# LIKE --------------------------------------------------------------------------------------------------------------------

$t->sql(qq{
	DELETE FROM imagekit.outbox;
	CREATE TABLE alike (LIKE patches INCLUDING ALL);
	INSERT INTO alike (id, images) VALUES (1, '{$ENDPOINT/alike.jpg}'), (2, '{$ENDPOINT/alike.jpg}')});
is($t->sql(q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'alike'::regclass}), 0, 'CREATE TABLE (LIKE ... INCLUDING ALL) copies no trigger');
is(watched(), $watched, 'the new table is not watched');
is($t->messages('UPDATE alike SET images = NULL WHERE id = 1; DELETE FROM alike WHERE id = 2; TRUNCATE alike'), '', 'its rows can be changed');
is($t->pending - $t->sql('SELECT count(*) FROM imagekit.backlog'), 0, 'and nothing of it is captured');
$t->sql(qq{SELECT imagekit.watch('alike', '{images}'); INSERT INTO alike (id, images) VALUES (3, '{$ENDPOINT/alike.jpg}'); DELETE FROM alike});
is($t->pending - $t->sql('SELECT count(*) FROM imagekit.backlog'), 1, 'until it is watched itself');

done_testing();
