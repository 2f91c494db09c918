# The extension is created and dropped under a running server, by commit and by rollback, also while a request hangs: the
# worker comes, waits, goes on or goes, and nobody meets a deadlock.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(ready => 0, settings => { 'imagekit_cleanup.request_timeout' => '60s', deadlock_timeout => '100ms' });
my $imagekit = $t->imagekit;

# What the log must not hold. A worker may say that its extension, or its account, went away during a round.
sub complaints { return join("\n", grep { /ERROR|FATAL|PANIC|WARNING/ && !/extension "imagekit_cleanup" is not installed|no account is configured|Error deleting ImageKit file/ } $t->log_lines(qr/./)); }

sub hang
{
	my ($id) = @_;
	$t->insert($id, "$id.jpg");
	$imagekit->fault(kind => 'stall', method => 'GET', contains => "$id.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'a request hangs';
	return $t->worker;
}

# CREATE EXTENSION ------------------------------------------------------------------------------------------------------------

$t->sql('CREATE DATABASE undecided');
my $session = $t->node->background_psql('undecided');
$session->query_safe('SET client_min_messages = error; BEGIN; CREATE EXTENSION imagekit_cleanup; SELECT imagekit.enable()');
$t->prepare;
$t->insert(1, 'first.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->files } '', 'created under a running server it works, without a restart, and while another waits for its commit';
$session->query_safe('ROLLBACK');
$session->quit;
stays { $t->worker('undecided') } '', 'CREATE EXTENSION that is rolled back brings nobody';
is(complaints(), '', 'and no complaint');

# DROP EXTENSION --------------------------------------------------------------------------------------------------------------

my $worker = hang(2);
$session = $t->node->background_psql('postgres');
my $start = time();
$session->query_safe('SET client_min_messages = error; BEGIN; DROP EXTENSION imagekit_cleanup CASCADE');
cmp_ok(time() - $start, '<', 1, 'DROP EXTENSION does not wait for a request that hangs');
$imagekit->release;
wait_for { $t->sql("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $worker") eq 'Lock' } 'the worker, answered, waits for what becomes of it';
is($t->files(prefix => '/2'), '/2.jpg', 'and deletes nothing meanwhile');
$session->query_safe('ROLLBACK');
$session->quit;
eventually { $t->files } '', 'rolled back, it goes on';
is($t->worker, $worker, 'as the same process');
eventually { $t->history } 'deleted 2.jpg, deleted first.jpg', 'and settles what it had under way';

hang(3);
$start = time();
$t->sql('SET client_min_messages = error; DROP EXTENSION imagekit_cleanup CASCADE');
cmp_ok(time() - $start, '<', 1, 'and committed, neither');
$imagekit->release;
eventually { $t->worker } '', 'the worker goes';
# One may be on its way already, and looks.
my %came;
stays { my $worker = $t->worker; $came{$worker} = 1 if $worker ne ''; keys %came > 1 ? 'another, and another' : $t->files } '/3.jpg', 'and none comes again where no extension is';
eventually { $t->worker } '', 'nor stays there';
is(complaints(), '', 'the log complains of nothing else');
$t->sql('DROP TABLE patches, modules; DROP SCHEMA imagekit');
$t->prepare;
$t->sql("INSERT INTO patches VALUES (3, '{$ENDPOINT/3.jpg}'); DELETE FROM patches");
eventually { $t->files } '', 'created anew, it works';

# DROP OWNED --------------------------------------------------------------------------------------------------------------------

# Of the account's owner: the extension stays.
$t->sql(q{CREATE ROLE shopkeeper; ALTER SERVER acme OWNER TO shopkeeper});
$worker = hang(4);
$start = time();
$t->sql('SET client_min_messages = error; DROP OWNED BY shopkeeper CASCADE');
cmp_ok(time() - $start, '<', 1, 'DROP OWNED of an account does not wait for a request to it');
$imagekit->release;
eventually { $t->pending . $t->history =~ s/.*(4\.jpg).*/$1/r } qr/^1|4\.jpg/, 'what was under way is parked for a person, or settled';
is($t->files, '/4.jpg', 'and nothing is deleted for an account that is no more');
is(complaints(), '', 'the worker does not fail of it');

# Of the extension's owner. Superusers own extensions.
$t->sql('SET client_min_messages = error; DROP EXTENSION imagekit_cleanup CASCADE; DROP TABLE patches, modules; DROP SCHEMA imagekit; CREATE ROLE boss SUPERUSER');
sub prepare_as_boss
{
	local $ENV{PGOPTIONS} = '-c role=boss';
	$t->prepare;
	return;
}
prepare_as_boss();
is($t->sql(q{SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'imagekit_cleanup'}), 'boss', 'the extension is a mortal superuser\'s');
$t->mark_log;
hang(5);
$start = time();
$t->sql('SET client_min_messages = error; DROP OWNED BY boss CASCADE');
cmp_ok(time() - $start, '<', 1, 'DROP OWNED of the extension does not wait for a request that hangs');
$imagekit->release;
eventually { $t->worker } '', 'the worker goes';
is(complaints(), '', 'without more complaint than that');

# A worker that goes from table to table of the extension meets a DROP OWNED that locks them as it finds them: in the order of their
# entries in pg_shdepend, where the tables may come before the extension.
sub tables_first
{
	my @tables = split /\n/, $t->sql(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'imagekit'::regnamespace AND relkind = 'r'});
	$t->sql(q{DROP SCHEMA filler CASCADE});
	$t->sql("ALTER TABLE $_ OWNER TO postgres") for @tables;
	$t->sql('VACUUM pg_shdepend');
	$t->sql("ALTER TABLE $_ OWNER TO boss") for @tables;
	return;
}
for my $table (qw(arming backlog outbox account_state))
{
	$t->sql('SET client_min_messages = error; DROP SCHEMA IF EXISTS imagekit CASCADE; CREATE SCHEMA filler AUTHORIZATION boss; SET ROLE boss; '
		. join('; ', map { "CREATE TABLE filler.t$_ ()" } 1 .. 30));
	prepare_as_boss();
	tables_first();
	# Something waits, so the worker looks again and again.
	$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/later.jpg}', '1 hour')");
	my %session = map { $_ => $t->node->background_psql('postgres', on_error_stop => 0) } qw(locker drop);
	my %pid = map { $_ => $session{$_}->query_safe('SELECT pg_backend_pid()') } keys %session;
	$session{locker}->query_safe("BEGIN; LOCK TABLE imagekit.$table");
	$worker = wait_for { $t->sql(qq{SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker' AND $pid{locker} = ANY (pg_blocking_pids(pid))}) }
	  'the worker waits for the lock';
	$t->mark_log;
	$session{drop}->query_until(qr/started/, "\\echo started\nSET client_min_messages = error; DROP OWNED BY boss CASCADE;\n");
	wait_for { $t->sql("SELECT string_agg(pid::text, ' ') FROM unnest(pg_blocking_pids($pid{drop})) AS pid") =~ /\b(?:$worker|$pid{locker})\b/ } 'so does DROP OWNED, for whom it may';
	$session{locker}->query_safe('COMMIT');
	eventually { $t->sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'imagekit_cleanup'}) } 0,
	  "DROP OWNED ends while the worker was waiting for imagekit.$table";
	eventually { $t->sql("SELECT state FROM pg_stat_activity WHERE pid = $worker") } qr/^(?:idle)?$/, 'and so does the worker';
	is((grep { /deadlock/ } $t->log_lines(qr/./)), 0, 'without a deadlock') or diag $t->log;
	$_->{run}->kill_kill for values %session;
}

done_testing();
