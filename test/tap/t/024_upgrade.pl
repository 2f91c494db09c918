# pg_upgrade into a new cluster: what is watched, what waits and what was done come along; the new cluster sends nothing until somebody
# arms it, and then does all that waited.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(name => 'old', settings => { max_prepared_transactions => 5 });
my ($old, $imagekit) = ($t->node, $t->imagekit);

# Columns that were dropped keep their numbers, and partitions their triggers.
$t->sql(q{
	CREATE SCHEMA "My Shop";
	CREATE TABLE "My Shop"."Odd.Table" (gone int, decoy text, id int, "odd.name" text);
	ALTER TABLE "My Shop"."Odd.Table" DROP COLUMN gone;
	ALTER TABLE "My Shop"."Odd.Table" RENAME COLUMN "odd.name" TO image;
	SELECT imagekit.watch('"My Shop"."Odd.Table"', '{image}', 'id', '3 days', 'deny', replication => 'always');
	ALTER TABLE "My Shop"."Odd.Table" RENAME COLUMN image TO "the image";
	CREATE TABLE parts (id int, region text, images text[]) PARTITION BY LIST (region);
	CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
	SELECT imagekit.watch('parts', '{images}', replication => 'replica');
	CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us')});
# Servers get other oids in the new cluster.
$t->sql(qq{
	CREATE SERVER second FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/second', api_url '} . $imagekit->url . qq{');
	CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key 'private_test_second')});
# Another database, whose worker might be in the way.
$t->sql('CREATE DATABASE other');
$t->prepare(db => 'other');

# History, backlog (to be tried again; later; failed for good) and journal all hold something.
$t->insert(1, 'settled.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->history } 'deleted settled.jpg', 'the old cluster has a history';
$imagekit->seed(map { "/$_.jpg" } qw(odd odd-2 eu us later other));
$imagekit->fault(kind => 'text_500', contains => $_, count => 0) for 'backlog.jpg', 'other.jpg';
$t->insert(2, 'backlog.jpg');
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/other.jpg}'); DELETE FROM patches", 'other');
$t->sql("DELETE FROM patches; SELECT imagekit.enqueue('{$ENDPOINT/later.jpg}', '1 hour'); SELECT imagekit.enqueue('{\"$ENDPOINT/no%zzurl.jpg\"}');
	SELECT imagekit.enqueue('{https://ik.imagekit.io/second/second.jpg}', '2 hours')");
wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state IN ('retrying', 'failed')") == 2 } 'a backlog';
wait_for { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'retrying'", 'other') == 1 } 'and one in the other database, which stays armed';
$t->sql('SELECT imagekit.disable()');
$t->insert(3, 'journal.jpg', 'kept.jpg');
$t->sql(qq{
	DELETE FROM patches;
	INSERT INTO patches VALUES (4, '{$ENDPOINT/kept.jpg}');
	INSERT INTO "My Shop"."Odd.Table" VALUES ('decoy', 1, '$ENDPOINT/odd.jpg'), ('decoy', 2, '$ENDPOINT/odd-2.jpg');
	DELETE FROM "My Shop"."Odd.Table" WHERE id = 1;
	INSERT INTO parts VALUES (1, 'eu', '{$ENDPOINT/eu.jpg}'), (2, 'us', '{$ENDPOINT/us.jpg}')});
# A round that is under way would still change what waits.
wait_for { $t->worker eq '' } 'the worker has left';

my %queries = (
	'what is watched' => 'SELECT relation, sources, owner, grace, on_truncate, replication, active FROM imagekit.watched ORDER BY relation::text',
	'what waits' => 'SELECT url, server, relation, state, captured_at, due_at, attempts, last_error FROM imagekit.pending ORDER BY url',
	'the history' => 'SELECT * FROM imagekit.history ORDER BY id',
	'the triggers' => q{SELECT tgrelid::regclass, tgname, tgenabled, tgparentid <> 0 FROM pg_trigger WHERE tgname ~ '^imagekit' ORDER BY tgrelid::regclass::text, tgname});
my %before = map { $_ => $t->sql($queries{$_}) } keys %queries;
like($before{'what waits'}, qr/backlog\.jpg\|acme\|(?:public\.)?patches\|retrying/, 'a file to be tried again waits');
like($before{'what waits'}, qr/journal\.jpg\|acme\|(?:public\.)?patches\|waiting/, 'and one in the journal');
like($before{'what waits'}, qr/no%zzurl\.jpg\|acme\|\|failed/, 'and one for a person');

# pg_upgrade ----------------------------------------------------------------------------------------------------------------

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => ["--no-instructions"]);  # by initdb itself: another cluster has another identifier
$new->append_conf('postgresql.conf', $_) for grep { /imagekit|^max_prepared|^log_statement = none/ } split /^/m, slurp_file($old->data_dir . '/postgresql.conf');
$old->stop;

my $bin = $old->config_data('--bindir');
my @command = ('pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
	'-s', $new->host, '-p', $old->port, '-P', $new->port);
# It leaves files where it runs.
my $directory = PostgreSQL::Test::Utils::tempdir();
chdir $directory or die "chdir: $!";
$imagekit->no_faults;
$imagekit->forget;
{
	my ($output, $errors) = run_command([ @command, '--check' ]);
	like($output, qr/Clusters are compatible/, 'pg_upgrade --check finds nothing in its way') or diag "$output\n$errors";
}
{
	my $output = '';
	my $done = IPC::Run::run(\@command, '<', \undef, '>&', \$output);
	ok($done, 'pg_upgrade') or diag $output, map { "$_:\n" . slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*');
}
is(join(' ', $imagekit->requests), '', 'nothing is sent while pg_upgrade starts and stops servers');

# The new cluster -----------------------------------------------------------------------------------------------------------

# As pg_upgrade starts it: nothing of ours runs beside its work. The launcher would be there as soon as sessions are let in.
my $upgraded = bless { node => $new, imagekit => $imagekit }, 'ImageKit::Test';
my @pg_ctl = ("$bin/pg_ctl", '-w', '-D', $new->data_dir, '-l', $new->logfile);
my $ours = q{SELECT string_agg(backend_type, ' ') FROM pg_stat_activity WHERE backend_type LIKE 'imagekit_cleanup%'};
command_ok([ @pg_ctl, '-o', '-b', 'start' ], 'the new cluster starts in binary-upgrade mode');
stays { $upgraded->sql($ours) } '', 'there it has neither launcher nor worker';
is($upgraded->sql('SELECT count(*) FROM imagekit.watched'), 4, 'though the extension is there');
command_ok([ @pg_ctl, 'stop' ], 'and it is stopped again');

$new->start;
eventually { $upgraded->sql($ours) } qr/\bimagekit_cleanup launcher\b/, 'started as ever it has a launcher';
is($upgraded->sql($queries{$_}), $before{$_}, "$_: as before") for sort keys %queries;
is($upgraded->sql('SELECT DISTINCT state FROM imagekit.status'), 'stopped', 'it is not armed');
like($upgraded->sql('SELECT DISTINCT cause FROM imagekit.status'), qr/^this database is a copy: it was armed in another cluster|^imagekit\.enable\(\) has not been called in this database/, 'and status says so in words');
like($upgraded->cause('other'), qr/^this database is a copy: it was armed in another cluster/, 'as it does in a database that was armed at the end');
stays { join(' ', $imagekit->requests) } '', 'nothing is sent';

$imagekit->seed('/after.jpg', '/after-other.jpg');
$upgraded->sql("INSERT INTO patches VALUES (5, '{$ENDPOINT/after.jpg}'); DELETE FROM patches WHERE id = 5");
$upgraded->sql('DELETE FROM "My Shop"."Odd.Table"; DELETE FROM parts');
$upgraded->sql('SET session_replication_role = replica; DELETE FROM patches WHERE id = 4');
is($upgraded->sql(q{SELECT string_agg(regexp_replace(url, '.*/', ''), ' ' ORDER BY url) FROM imagekit.pending WHERE url ~ '(after|odd-2|eu|us)\.jpg|4'}),
	'after.jpg odd-2.jpg', 'deletes are captured, by the settings of each table');
like($upgraded->messages('TRUNCATE "My Shop"."Odd.Table"'), qr/cannot truncate table "Odd\.Table"/, 'and TRUNCATE is denied where it was');
$upgraded->sql(qq{INSERT INTO patches VALUES (4, '{$ENDPOINT/kept.jpg}') ON CONFLICT DO NOTHING});

$upgraded->sql(q{UPDATE imagekit.backlog SET due_at = now() WHERE state = 'retrying'; SELECT imagekit.enable()});
eventually { $upgraded->files(prefix => '/backlog') . $upgraded->files(prefix => '/journal') . $upgraded->files(prefix => '/after') } '/after-other.jpg',
  'armed, it deletes what had waited in the backlog and in the journal, and what was captured after';
eventually { $upgraded->history } qr/deleted after\.jpg, deleted backlog\.jpg, deleted journal\.jpg, kept kept\.jpg, deleted settled\.jpg/, 'the history goes on';
is($upgraded->files, '/after-other.jpg /eu.jpg /kept.jpg /later.jpg /odd-2.jpg /odd.jpg /other.jpg /us.jpg', 'what must wait longer, or was not removed, is there');
is($upgraded->sql(q{SELECT string_agg(url || ' ' || state, ', ' ORDER BY url) FROM imagekit.pending WHERE url !~ 'odd'}),
	"$ENDPOINT/later.jpg waiting, $ENDPOINT/no%zzurl.jpg failed, https://ik.imagekit.io/second/second.jpg waiting", 'as is what waits in the queue');
$upgraded->sql(q{UPDATE imagekit.backlog SET due_at = now() WHERE state = 'waiting' AND url !~ 'second'});
eventually { $upgraded->files } '/after-other.jpg /eu.jpg /kept.jpg /other.jpg /us.jpg', 'and goes when it is due';

done_testing();
