# DROP DATABASE, RENAME, SET TABLESPACE and CREATE DATABASE ... TEMPLATE, of the worker's own database while a request of it hangs,
# and of others: nobody waits for ImageKit, nobody has to stop anything, and the worker goes on afterwards.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(ready => 0, settings => {
	'imagekit_cleanup.request_timeout' => '60s', 'imagekit_cleanup.max_workers' => '6', 'imagekit_cleanup.poll_interval' => '30s' });
my $imagekit = $t->imagekit;
my $tablespace = PostgreSQL::Test::Utils::tempdir();
$t->sql("CREATE TABLESPACE elsewhere LOCATION '$tablespace'; CREATE ROLE stranger LOGIN; CREATE ROLE maker LOGIN CREATEDB");

# Runs SQL that must succeed; returns the seconds it took.
sub timed
{
	my ($sql, $db) = @_;
	my $start = time();
	my $errors = $t->messages($sql, $db);
	my $took = time() - $start;
	die "$sql: $errors" if $errors ne '';
	note sprintf('%.3f s: %s', $took, $sql);
	return $took;
}

# Deletes a row's image in DB and waits until METHOD hangs. Returns the worker's process id.
sub hang
{
	my ($db, $method) = @_;
	$imagekit->seed("/$db.jpg");
	$imagekit->fault(kind => 'stall', ms => 60000, method => $method, contains => $method eq 'GET' ? "$db.jpg" : '/v1/files/');
	my $before = $imagekit->stalled;
	$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/$db.jpg}'); DELETE FROM patches WHERE id = 1", $db);
	wait_for { $imagekit->stalled > $before } 'a request hangs';
	return wait_for { $t->worker($db) } 'its worker';
}

# The requests of dead connections end by themselves when they are released.
sub let_go { $imagekit->no_faults; $imagekit->release; return; }

# Its own database ----------------------------------------------------------------------------------------------------------

for my $case (
	[ 'RENAME, the look-up hangs', 'GET', 'ALTER DATABASE shop RENAME TO moved', 'moved' ],
	[ 'RENAME, the delete hangs', 'DELETE', 'ALTER DATABASE shop RENAME TO moved', 'moved' ],
	[ 'SET TABLESPACE', 'GET', 'ALTER DATABASE shop SET TABLESPACE elsewhere', 'shop' ],
	[ 'CREATE DATABASE ... TEMPLATE', 'DELETE', 'CREATE DATABASE copy TEMPLATE shop', 'shop' ],
	[ 'CREATE DATABASE ... TEMPLATE by copying files', 'GET', q{CREATE DATABASE copy TEMPLATE shop STRATEGY file_copy}, 'shop' ],
	[ 'a rename that is rolled back', 'GET', 'BEGIN; ALTER DATABASE shop RENAME TO moved; ROLLBACK', 'shop' ])
{
	my ($what, $method, $sql, $now) = @$case;
	$t->sql('CREATE DATABASE shop');
	$t->prepare(db => 'shop');
	my $worker = hang('shop', $method);
	$t->mark_log;
	cmp_ok(timed($sql), '<', 2, "$what succeeds at once");
	let_go();
	eventually { $t->files } '', "$what: afterwards the worker goes on by itself";
	eventually { $t->history($now) . $t->pending($now) } 'deleted shop.jpg0', "$what: nothing is lost";
	isnt($t->worker($now), $worker, "$what: it is another process");
	is((grep { /ERROR|FATAL|PANIC|WARNING/ } $t->log_lines(qr/./)), 0, "$what: the log has nothing to complain of") or diag $t->log;
	if ($sql =~ /TEMPLATE shop/)
	{
		eventually { $t->cause('copy') } qr/^this database is a copy/, "$what: the copy knows that it is one";
		$t->sql('DROP DATABASE copy');
	}
	cmp_ok(timed("DROP DATABASE $now"), '<', 2, 'DROP DATABASE, with an idle worker');
}

for my $force ('', ' WITH (FORCE)')
{
	$t->sql('CREATE DATABASE shop');
	$t->prepare(db => 'shop');
	my $worker = hang('shop', 'DELETE');
	$t->mark_log;
	cmp_ok(timed("DROP DATABASE shop$force"), '<', 2, "DROP DATABASE$force succeeds at once");
	is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $worker"), 0, 'its worker is gone');
	let_go();
	# A launcher that went on starting workers for it would say so here.
	stays { join("\n", grep { /ERROR|FATAL|PANIC|WARNING/ } $t->log_lines(qr/./)) } '', 'nobody looks for it afterwards';
}

# What does not succeed -------------------------------------------------------------------------------------------------------

$t->sql('CREATE DATABASE shop');
$t->prepare(db => 'shop');
my $worker = hang('shop', 'GET');
$t->mark_log;
for my $command ('DROP DATABASE shop', 'ALTER DATABASE shop RENAME TO mine', 'ALTER DATABASE shop SET TABLESPACE pg_default', 'CREATE DATABASE mine TEMPLATE shop')
{
	like($t->messages("SET ROLE maker; $command"), qr/must be owner of database shop|permission denied to copy database "shop"/, "who may not: $command");
}
like($t->messages('SET ROLE stranger; CREATE DATABASE mine TEMPLATE shop'), qr/permission denied to create database/, 'nor one who may make none');
is($t->worker('shop'), $worker, 'they do not stop the worker by trying');

# Somebody else is connected: after 5 s the command fails, and the worker comes back.
my $session = $t->node->background_psql('shop');
$session->query_safe('SELECT 1');
like($t->messages('DROP DATABASE shop'), qr/ERROR:  database "shop" is being accessed by other users/, 'a session of somebody else is in the way');
$session->quit;
let_go();
eventually { $t->files . $t->history('shop') } 'deleted shop.jpg', 'after a DROP DATABASE that failed the worker goes on';

# A session that dies with its transaction open.
hang('shop', 'GET');
$session = $t->node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_safe('BEGIN; ALTER DATABASE shop RENAME TO moved');
wait_for { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'") eq '0' } 'the worker is gone';
let_go();
stays { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'") } '0', 'none comes while the transaction is open';
$t->sql("SELECT pg_terminate_backend($pid)");
eventually { $t->files . $t->history('shop') } 'deleted shop.jpg, deleted shop.jpg', 'the session ends, the worker comes';
$session->{run}->kill_kill;

# Other databases -------------------------------------------------------------------------------------------------------------

# The best of some tries each, in turn: what the machine does besides hits both sides.
sub best
{
	my ($best, $took) = @_;
	return !defined $best || $took < $best ? $took : $best;
}

my @commands = ('CREATE DATABASE unrelated', 'ALTER DATABASE unrelated RENAME TO other', 'ALTER DATABASE other SET TABLESPACE elsewhere',
	'CREATE DATABASE unrelated TEMPLATE other', 'DROP DATABASE other', 'DROP DATABASE unrelated');
my %best;
for (1 .. 3)
{
	for my $state ('idle', 'GET', 'DELETE')
	{
		hang('shop', $state) if $state ne 'idle';
		$best{$state}{$_} = best($best{$state}{$_}, timed($_)) for @commands;
		is($imagekit->stalled, 1, "the request $state has hung all the time") if $state ne 'idle';
		let_go();
		wait_for { $t->pending('shop') eq '0' } 'done';
	}
}
for my $command (@commands)
{
	for my $method ('GET', 'DELETE')
	{
		my ($idle, $busy) = map { $best{$_}{$command} } 'idle', $method;
		cmp_ok($busy - $idle, '<', 0.2, sprintf('%s of a database beside: %.3f s with a request %s that hangs, %.3f s without', $command =~ s/DATABASE \w+/DATABASE/r, $busy, $method, $idle));
	}
}

# Templates -------------------------------------------------------------------------------------------------------------------

# A worker that is there when its database becomes one goes.
hang('shop', 'GET');
$t->sql('ALTER DATABASE shop IS_TEMPLATE true');
let_go();
eventually { $t->worker('shop') } '', 'a database that becomes a template loses its worker';
is($t->pending('shop'), 1, 'and its work waits');
$imagekit->seed('/template.jpg');
$t->mark_log;
$t->sql("INSERT INTO patches VALUES (2, '{$ENDPOINT/template.jpg}'); DELETE FROM patches", 'shop');
stays { $t->worker('shop') . $t->files } '/shop.jpg /template.jpg', 'a template has no worker, whatever is committed in it';
$t->sql('ALTER DATABASE shop IS_TEMPLATE false');
eventually { $t->files . $t->pending('shop') } '0', 'a template no more, it gets one';
wait_for { $t->worker('shop') eq '' } 'it leaves';
$t->sql('ALTER DATABASE shop ALLOW_CONNECTIONS false');
$t->node->restart;
stays { join("\n", grep { /ERROR|FATAL/ && !/terminating background worker/ } $t->log_lines(qr/./)) } '', 'nobody tries to connect where nobody may';

done_testing();
