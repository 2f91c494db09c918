# Audits by schedule: by a process of their own, which comes when one is due, keeps to hours and time limit, makes way for whoever wants
# its database, comes back after each death, and is not started again and again where it can do nothing.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(ready => 0, settings => { restart_after_crash => 'on', log_min_messages => 'debug1', timezone => 'UTC' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
my @slow = (read_rate => 5, read_burst => 2, audit_share => 1);
$t->prepare;
$t->sql('CREATE DATABASE other; CREATE DATABASE doomed');
$t->prepare(db => $_) for qw(other doomed);
$imagekit->seed_many(prefix => '/bulk', folders => 10, count => 6000, createdAt => '2024-01-01T00:00:00.000Z', step_ms => 60_000);
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/bulk/d0001/f0000001.jpg}')");

sub options
{
	my ($db, %options) = @_;
	my $known = $t->sql(q{SELECT string_agg(split_part(o, '=', 1), ' ') FROM pg_foreign_server, unnest(srvoptions) o WHERE srvname = 'acme'}, $db);
	$t->sql('ALTER SERVER acme OPTIONS (' . join(', ', map { my $verb = " $known " =~ / $_ / ? defined $options{$_} ? 'SET' : 'DROP' : 'ADD'; $verb eq 'DROP' ? "DROP $_" : "$verb $_ '$options{$_}'" } sort keys %options) . ')', $db);
	return;
}

sub processes { my ($db) = @_; $db //= 'postgres'; return $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup audit' AND datname = '$db'"); }
sub process { my ($db) = @_; $db //= 'postgres'; return $t->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup audit' AND datname = '$db'"); }
sub audits { my ($what, $db) = @_; return $t->sql("SELECT $what FROM imagekit.audits ORDER BY id DESC LIMIT 1", $db); }
sub complete { my ($db) = @_; return $t->sql(q{SELECT count(*) FROM imagekit.audits WHERE state = 'complete'}, $db); }
# How often it was started, by the server's own count.
sub starts { return scalar(() = $t->log =~ /starting background worker process "imagekit_cleanup audit for/g); }
sub quiet { my ($db) = @_; options($db, audit_every => 'off'); wait_for { processes($db) eq '0' } 'no audit is under way'; return; }
sub hang { $imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => $_[0] // 0); return; }
sub let_go { $imagekit->no_faults; $imagekit->release; return; }

# When it is due ------------------------------------------------------------------------------------------------------------

is(processes(), '0', 'nobody audits unasked');
$t->mark_log;
hang(2);
options('postgres', audit_every => '2 seconds');
wait_for { $imagekit->stalled } 'an audit asks for pages';
is($t->sql(q{SELECT backend_type, application_name, datname, query FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup audit'}),
	'imagekit_cleanup audit|imagekit_cleanup audit|postgres|imagekit_cleanup: audit of server "acme": listing the library, so far 1990 files', 'it is there for all to see, and how far it is');
is(audits('state, scheduled, files'), 'listing|t|1990', 'also in its view');
is(starts(), 1, 'it was started once');
let_go();
eventually { complete() > 1 ? 'again' : '' } 'again', 'one is complete, and another 2 seconds after its beginning';
quiet();
my ($started, $ended) = (starts(), complete());
cmp_ok($started, '<=', $ended + 2, 'a process for each, and hardly more');
my @said = $t->log_lines(qr/audit/);
is(scalar(grep { /LOG:  imagekit_cleanup: audit of server "acme": 6000 files/ } @said), $ended, 'each says in the log what came of it');
is(scalar @said, $ended, 'in one line') or diag join "\n", @said;
stays { complete() } $ended, 'when it is switched off there is no other', 2.5;

# Hours.
$t->mark_log;
my $hour = (gmtime)[2];
options('postgres', audit_every => '2 seconds', audit_hours => sprintf('%d-%d', ($hour + 2) % 24, ($hour + 3) % 24 || 24));
stays { starts() } 0, 'none outside of its hours', 3;
options('postgres', audit_hours => sprintf('%d-%d', $hour, ($hour + 2) % 24 || 24));
eventually { complete() > $ended ? 'one' : '' } 'one', 'one within them';
quiet();
options('postgres', audit_hours => undef);

# Paused.
$t->mark_log;
$ended = complete();
$t->sql(q{SELECT imagekit.pause('acme', 'for the test')});
options('postgres', audit_every => '2 seconds');
stays { starts() } 0, 'none while the account is paused', 3;
$t->sql('SELECT imagekit.resume()');
eventually { complete() > $ended ? 'one' : '' } 'one', 'one when it is not any more';
quiet();

# Its time ------------------------------------------------------------------------------------------------------------------

$t->mark_log;
options('postgres', @slow, audit_time_limit => '1 second', audit_every => '2 seconds');
my $run = wait_for { my ($id, $state, $problem) = split /\|/, audits('id, state, problem'); $problem =~ /^audit_time_limit is reached/ && "$id" } 'the time is over';
is(audits('state'), 'incomplete', 'it is broken off when its time is over');
my $pages = audits('pages');
# Another begins at once.
sub that_run { my ($what) = @_; return $t->sql("SELECT $what FROM imagekit.audits WHERE id = $run"); }
eventually { that_run('state') } 'complete', 'and gone on with, until it is complete', 60;
cmp_ok(that_run('pages'), '>', $pages, 'from where it was');
cmp_ok(that_run('pages'), '<=', 12, 'without reading anything twice');
quiet();

# It is over when the last page has come: the tables are not read any more.
options('postgres', audit_time_limit => '2 seconds', read_rate => 1000, read_burst => 1000);
# The pages of the first audit that came before the tables are read.
my $to = $t->sql(q{SELECT extract(epoch FROM compared_at) FROM imagekit.audits WHERE id = 1});
my $listed = grep { $_->{wall_ms} / 1000 < $to } $imagekit->pages;
cmp_ok($listed, '>', 5, 'the library is listed in some pages');
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => $listed - 1, count => 1);
options('postgres', audit_every => '2 seconds');
wait_for { $imagekit->stalled } 'the last page hangs';
$run = audits('id');
my $hangs = time();
wait_for { time() - $hangs > 2.2 } 'the time is over';
$imagekit->release;
eventually { that_run('state || $$ $$ || problem') } qr/^incomplete audit_time_limit is reached/, 'a time that is over when the library is listed lets no table be read';
is(that_run('compared_at'), '', 'none was');
eventually { that_run('state') } 'complete', 'the next one does', 60;
quiet();
options('postgres', audit_time_limit => undef);

# Deaths --------------------------------------------------------------------------------------------------------------------

for my $how ('SIGTERM', 'kill -9')
{
	$t->mark_log;
	hang(3);
	options('postgres', audit_every => '2 seconds');
	wait_for { $imagekit->stalled } 'an audit asks for pages';
	my ($pid, $id) = (process(), audits('id'));
	if ($how eq 'SIGTERM') { $t->sql("SELECT pg_terminate_backend($pid, 5000)"); }
	else
	{
		kill 'KILL', $pid;
		wait_for { $t->log =~ /terminated by signal 9/ } 'the server has noticed';
		wait_for { $node->psql('postgres', 'SELECT 1') == 0 } 'the server has restarted itself', 60;
	}
	is(audits('state'), 'incomplete', "$how: it is seen to be broken off") if $how eq 'SIGTERM';
	let_go();
	eventually { $t->sql("SELECT state FROM imagekit.audits WHERE id = $id") } 'complete', "$how: another goes on with it";
	quiet();
}
eventually { $t->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) } '0', 'no lock is left';

# Others --------------------------------------------------------------------------------------------------------------------

# Two databases at the same time.
hang();
options($_, audit_every => '2 seconds') for qw(other doomed);
wait_for { processes('other') eq '1' && processes('doomed') eq '1' && $imagekit->stalled >= 1 } 'both databases audit';
pass('two databases audit at the same time');
let_go();
eventually { complete('other') > 0 && complete('doomed') > 0 ? 'both' : '' } 'both', 'and both are done';
quiet('other');

# Who wants the database gets it at once.
wait_for { processes('doomed') eq '0' } 'none is under way';
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', count => 0);
wait_for { $imagekit->stalled } 'an audit asks for pages';
$t->mark_log;
my $began = time();
$t->sql('ALTER DATABASE doomed RENAME TO moved');
cmp_ok(time() - $began, '<', 2, 'a database is renamed while it is audited');
wait_for { processes('moved') eq '1' } 'another audits';
$began = time();
$t->sql('DROP DATABASE moved');
cmp_ok(time() - $began, '<', 2, 'and dropped');
is(join("\n", $t->log_lines(qr/FATAL|ERROR|WARNING/)), '', 'and that is no news for the log');
let_go();

# One that somebody has called for is in the way of the scheduled one, which is not tried again and again; another account's is not.
$t->sql(qq{
	CREATE SERVER acme2 FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme2', api_url '@{[ $imagekit->url ]}', audit_every 'off');
	CREATE USER MAPPING FOR PUBLIC SERVER acme2 OPTIONS (private_key 'private_second')});
$imagekit->accounts(account => 'acme2', keys => ['private_second'], url_endpoints => ['acme2']);
hang();
my $called = ImageKit::AuditCall->start($t, sql => q{CALL imagekit.audit('acme', true)});
wait_for { $imagekit->stalled } 'it asks for pages';
$t->sql(q{UPDATE imagekit.audit_runs SET moved_on_at = moved_on_at - interval '1 hour'});
$t->mark_log;
options('postgres', audit_every => '1 hour');
$t->sql(q{ALTER SERVER acme2 OPTIONS (SET audit_every '1 hour')});
wait_for { starts() > 0 } 'the scheduled one is tried';
eventually { $t->sql(q{SELECT count(*) FROM imagekit.audits WHERE server = 'acme2' AND state = 'complete'}) } '1', 'another account is audited';
my $at_first = starts();
stays { starts() - $at_first <= 4 ? 'few' : 'many' } 'few', 'one that can do nothing is started more and more rarely', 6;
let_go();
$called->said;
eventually { audits('state') } 'complete', 'all ends well';

done_testing();
