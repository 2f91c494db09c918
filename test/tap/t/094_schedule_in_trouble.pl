# Audits by schedule, in trouble: no free process, hours that end, time zones, prepared transactions, limits of the database, and an
# extension that is dropped meanwhile.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# Two places beside the launchers' own.
my $t = ImageKit::Test->new(ready => 0, settings => {
	max_worker_processes => 4, max_prepared_transactions => 2, log_min_messages => 'debug1', timezone => 'UTC', 'imagekit_cleanup.request_timeout' => '120s' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->prepare;
$t->sql('CREATE DATABASE other');
$t->prepare(db => 'other');
$imagekit->seed_many(prefix => '/bulk', folders => 10, count => 6000, createdAt => '2024-01-01T00:00:00.000Z', step_ms => 60_000);
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/bulk/d0001/f0000001.jpg}')");
$t->sql(q{ALTER SERVER acme OPTIONS (ADD audit_every 'off')});

sub options { my ($options) = @_; return $t->sql("ALTER SERVER acme OPTIONS ($options)"); }
sub processes { return $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup audit'}); }
sub audits { my ($what) = @_; return $t->sql("SELECT $what FROM imagekit.audits ORDER BY id DESC LIMIT 1"); }
sub complete { return $t->sql(q{SELECT count(*) FROM imagekit.audits WHERE state = 'complete'}); }
sub starts { my ($what) = @_; return scalar(() = $t->log =~ /starting background worker process "imagekit_cleanup $what for/g); }
sub waits { return $t->sql(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'imagekit_cleanup audit' AND NOT l.granted}); }
sub quiet { options(q{SET audit_every 'off'}); wait_for { processes() eq '0' && $t->worker eq '' } 'nobody is at work'; return; }
sub hang { $imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => $_[0]); return; }
sub let_go { $imagekit->no_faults; $imagekit->release; return; }

# No free process -----------------------------------------------------------------------------------------------------------

$imagekit->seed('/held.jpg');
$imagekit->fault(kind => 'stall', contains => 'held.jpg');
$t->sql("INSERT INTO modules VALUES (1, '{$ENDPOINT/held.jpg}'); DELETE FROM modules", 'other');
wait_for { $imagekit->stalled } 'the worker of another database keeps its place';
$t->mark_log;
options(q{SET audit_every '1 hour'});
sub no_place { return join "\n", $t->log_lines(qr/slot is free/); }
eventually { no_place() } 'WARNING:  imagekit_cleanup cannot start an audit: no background worker slot is free', 'that an audit finds no place is said';
like($t->log, qr/no background worker slot is free\n.*DETAIL:  Audits that are due wait until one is\.\n.*HINT:  Raise max_worker_processes\./, 'with the remedy');
stays { no_place() =~ tr/\n// } 0, 'once', 4;
is(complete(), '0', 'none has begun');
let_go();
eventually { complete() } '1', 'it begins when there is one';
quiet();
$t->sql('DROP DATABASE other');

# While one is under way ----------------------------------------------------------------------------------------------------

hang(2);
options(q{SET audit_every '2 seconds'});
wait_for { $imagekit->stalled } 'an audit asks for pages';
wait_for { $t->worker eq '' } 'the worker of the queue has left';
$t->mark_log;
# One may look once more: it cannot tell whether the process that was ordered has come.
stays { starts('worker') > 1 ? 'again and again' : 'hardly' } 'hardly', 'nobody looks again and again whether an audit is due while one is under way', 5;
my $before = complete();
let_go();
eventually { complete() > $before + 1 ? 'another' : '' } 'another', 'when it is over that is looked at again';
quiet();

# Hours ---------------------------------------------------------------------------------------------------------------------

# From now on the database's clock says this minute of HOUR.
sub set_clock
{
	my ($hour, $minute) = @_;
	my (undef, $minutes, $hours) = gmtime;
	my $ahead = 60 * ($hour - $hours) + $minute - $minutes;
	$t->sql(sprintf q{ALTER DATABASE postgres SET timezone = '<T>%s%d:%02d'}, $ahead < 0 ? '+' : '-', abs($ahead) / 60, abs($ahead) % 60);
	return;
}

my (undef, undef, $hour) = gmtime;
set_clock($hour, (gmtime)[0] < 50 ? 59 : 58);
# Also the page that is asked for again, when the first request has timed out.
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => 2, count => 0);
options(sprintf q{SET audit_every '2 seconds', ADD audit_hours '%d-%d'}, $hour, $hour + 1);
wait_for { $imagekit->stalled } 'an audit asks for pages';
my $run = audits('id');
wait_for { $t->sql('SELECT extract(hour FROM now())') ne $hour } 'the hour is over', 90;
let_go();
eventually { audits('id, state, problem') } "$run|incomplete|audit_hours are over; it goes on in the next ones", 'one that leaves its hours is broken off';
$t->mark_log;
stays { starts('audit') } 0, 'and not gone on with outside of them', 3;
is($t->sql(q{SELECT at = date_trunc('hour', now()) + interval '23 hours' FROM imagekit.next_audits}), 't', 'but in the next ones');
set_clock($hour, 30);
options(q{SET audit_every '1 second'});
eventually { $t->sql("SELECT state FROM imagekit.audits WHERE id = $run") } 'complete', 'then it is';
quiet();
$t->sql('ALTER DATABASE postgres RESET timezone');

# When it is said to be due is when the worker comes, whoever asks.
my $superuser = $t->sql('SELECT rolname FROM pg_authid WHERE oid = 10');
my @zones = (['nothing', '', 'UTC'], ['the database', q{ALTER DATABASE postgres SET timezone = 'Asia/Tokyo'}, 'Asia/Tokyo'],
	['the worker\'s role', "ALTER ROLE $superuser SET timezone = 'Asia/Kolkata'", 'Asia/Kolkata'],
	['its role in this database', "ALTER ROLE $superuser IN DATABASE postgres SET timezone = 'CET'", 'CET']);
# An hour that none of the zones is in, nor will be soon: within the hours an audit is due at once.
my %taken = map { ($_ => 1, ($_ + 1) % 24 => 1) } map { $t->sql("SELECT extract(hour FROM now() AT TIME ZONE '$_->[2]')") } @zones;
my ($opens) = grep { !$taken{$_} } 3 .. 12;
options(sprintf q{SET audit_every '7 days', SET audit_hours '%d-%d'}, $opens, $opens + 1);
for (@zones)
{
	my ($whose, $sql, $zone) = @$_;
	$t->sql($sql) if $sql;
	is($t->sql("SET timezone = 'America/New_York'; CREATE TEMP TABLE due AS SELECT at FROM imagekit.next_audits; SET timezone = '$zone'; SELECT to_char(at, 'HH24:MI') FROM due"),
		sprintf('%02d:00', $opens), "the hours are those of $zone, where $whose has another time zone");
}
$t->sql("ALTER DATABASE postgres RESET timezone; ALTER ROLE $superuser RESET timezone; ALTER ROLE $superuser IN DATABASE postgres RESET timezone");
options('DROP audit_hours');
quiet();

# Prepared transactions -----------------------------------------------------------------------------------------------------

$t->setting('imagekit_cleanup.poll_interval', "'10min'");
for my $idle ('1s', '10min')
{
	$t->setting('imagekit_cleanup.worker_idle_timeout', "'$idle'");
	wait_for { $t->sql('SHOW imagekit_cleanup.worker_idle_timeout') eq $idle } 'the reload';
	if ($idle eq '10min')
	{
		$t->sql("INSERT INTO modules VALUES (5, '{$ENDPOINT/x.jpg}'); DELETE FROM modules");
		eventually { $t->pending } '0', 'a worker is there';
	}
	my $ended = complete();
	wait_for { $t->worker eq '' } 'the worker has left' if $idle eq '1s';
	$t->sql(q{BEGIN; ALTER SERVER acme OPTIONS (SET audit_every '1 second'); PREPARE TRANSACTION 'p'});
	wait_for { $t->worker eq '' } 'the worker has left' if $idle eq '1s';
	stays { complete() } $ended, 'a prepared transaction makes no audit due', 2;
	$t->sql(q{COMMIT PREPARED 'p'});
	eventually { complete() > $ended ? 'one' : '' } 'one', 'its commit does, with a worker that waits ' . ($idle eq '1s' ? 'no more' : 'for work');
	options(q{SET audit_every 'off'});
	wait_for { processes() eq '0' } 'none is under way';
}
$t->setting($_, "'1s'") for 'imagekit_cleanup.poll_interval', 'imagekit_cleanup.worker_idle_timeout';
quiet();

# A limit that the database has for its sessions ------------------------------------------------------------------------------

# The others do nothing to a background worker that cannot be cancelled.
SKIP:
{
	skip 'this server has no transaction_timeout', 1 if $t->sql(q{SELECT count(*) FROM pg_settings WHERE name = 'transaction_timeout'}) eq '0';
	local $ENV{PGOPTIONS} = '-c transaction_timeout=0';
	$t->sql(q{ALTER DATABASE postgres SET transaction_timeout = '100ms'});
	my $locker = $node->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE imagekit.audit_orphans');
	options(q{SET audit_every '1 second'});
	wait_for { waits() } 'an audit waits for a lock';
	stays { waits() } '1', 'it obeys no limit of sessions';
	$locker->quit;
	$t->sql('ALTER DATABASE postgres RESET transaction_timeout');
	quiet();
}

# The extension is dropped --------------------------------------------------------------------------------------------------

hang(2);
options(q{SET audit_every '2 seconds'});
wait_for { $imagekit->stalled } 'an audit asks for pages';
$t->mark_log;
$t->sql('SET client_min_messages = error; DROP EXTENSION imagekit_cleanup CASCADE');
let_go();
eventually { processes() } '0', 'the audit goes when its extension is dropped';
is(join("\n", $t->log_lines(qr/FATAL|ERROR|WARNING/)), '', 'and that is no news for the log');

done_testing();
