# pause() and resume(): what is in hand goes back, nothing is deleted once the word to stop is committed, and other accounts go on.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

# Streaming is allowed, as commits wait for a synchronous standby only then.
my $t = ImageKit::Test->new(
	init => [ allows_streaming => 1 ],
	settings => { 'imagekit_cleanup.request_timeout' => '60s', max_prepared_transactions => 2, deadlock_timeout => '100ms' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$imagekit->accounts(account => 'other', keys => ['private_other']);
my $OTHER = 'https://ik.imagekit.io/other';
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	CREATE FOREIGN DATA WRAPPER another;
	CREATE SERVER elsewhere FOREIGN DATA WRAPPER another});

my $row = 0;
sub remove { my (@names) = @_; $t->insert(++$row, @names); $t->sql("DELETE FROM patches WHERE id = $row"); return; }
sub remove_other
{
	my ($name) = @_;
	$imagekit->_post('seed', { account => 'other', files => ["/$name"] });
	$t->sql('INSERT INTO patches VALUES (' . ++$row . ", '{$OTHER/$name}'); DELETE FROM patches WHERE id = $row");
	return;
}
sub others { return $t->files(account => 'other'); }
sub waits { return $t->sql(q{SELECT state, attempts FROM imagekit.pending WHERE server = 'acme' ORDER BY url}); }
sub of { my ($what) = @_; return $t->sql("SELECT $what FROM imagekit.status WHERE server = 'acme'"); }
sub pid_of { my ($session) = @_; my $pid = $session->query_safe('SELECT pg_backend_pid()'); chomp $pid; return $pid; }

# Sends a statement and does not wait for its end.
sub start_in { my ($session, $sql) = @_; $session->query_until(qr/started/, "\\echo started\n$sql;\n"); return; }

# Who waits for the lock between the last look and the wire.
my $at_the_wire = q{SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 100 AND objid = 3 AND NOT granted};

# Counts and words --------------------------------------------------------------------------------------------------------

is($t->sql(q{SELECT imagekit.pause('acme', 'the library is being restored')}), 1, 'pause() returns how many were paused');
is(of('state'), 'stopped', 'the account is stopped');
like(of('cause'), qr/^paused by \w+ since \d{4}-.*: the library is being restored; SELECT imagekit\.resume\('acme'\) goes on$/, 'status says by whom, since when, why, and how to go on');
my ($status, $count, $said) = $node->psql('postgres', q{SELECT imagekit.pause('acme', 'again')});
is($count, 0, 'paused already: none');
like($said, qr/NOTICE:  server "acme" is paused already\nDETAIL:  Paused by \w+ since .*: the library is being restored\./, 'a NOTICE says by whom');
is($t->sql('SELECT imagekit.pause()'), 1, 'all: the other one is left');
like($t->messages('SELECT imagekit.pause()'), qr/NOTICE:  there is no account that is not paused already/, 'then none');
is($t->sql('SELECT imagekit.resume()'), 2, 'resume() of all returns how many');
like($t->messages(q{SELECT imagekit.resume(); SELECT imagekit.resume('acme')}), qr/NOTICE:  no account is paused\n.*NOTICE:  server "acme" is not paused/s, 'of none, likewise');
like($t->messages(q{SELECT imagekit.pause('nowhere')}), qr/ERROR:  server "nowhere" does not exist/, 'an account that does not exist');
like($t->messages(q{SELECT imagekit.pause('elsewhere')}), qr/ERROR:  server "elsewhere" is no ImageKit account\n.*HINT/s, 'a server of something else');
is($t->sql(q{SELECT imagekit.pause('other', NULL)}), 1, 'no reason');
like($t->sql(q{SELECT cause FROM imagekit.status WHERE server = 'other'}), qr/^paused by \w+ since [^;:]+:\d\d:[^;:]+(:\d\d)?; SELECT/, 'is none');
$t->sql('SELECT imagekit.resume()');

# Rolled back -------------------------------------------------------------------------------------------------------------

$t->sql(q{BEGIN; SELECT imagekit.pause(); ROLLBACK});
remove('rolled_back.jpg');
eventually { $t->files } '', 'a pause that is rolled back has no effect';

# In hand -----------------------------------------------------------------------------------------------------------------

# Found, and not deleted: deletes that hang have all the wire.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1')});
$imagekit->fault(kind => 'stall', method => 'DELETE', count => 8);
remove(map { "hand$_.jpg" } 1 .. 10);
wait_for { $imagekit->stalled == 8 } 'deletes are under way';
is(scalar(map { @{ $_->{removed} } } $imagekit->deletes), 1, 'none has been answered');
$t->sql(q{SELECT imagekit.pause('acme')});
eventually { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE state = 'waiting' AND attempts = 0 AND last_error ~ '^paused by'}) } 2,
  'what was found goes back, its attempt not counted, while deletes hang';
$imagekit->release;
eventually { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE url ~ 'hand' AND outcome = 'deleted'}) } 8, 'what was on the wire is deleted, and recorded';
remove_other('goes.jpg');
eventually { others() } '', 'the other account goes on';
stays { scalar(() = $t->files =~ /hand/g) . waits() } "2waiting|0\nwaiting|0", 'the two stay and wait', 4;
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});
is($t->sql(q{SELECT imagekit.resume('acme')}), 1, 'resumed');
eventually { $t->files . $t->pending } '0', 'it goes on by itself';

# Being looked up.
$imagekit->fault(kind => 'stall', method => 'GET', contains => 'looked_up.jpg');
remove('looked_up.jpg');
wait_for { $imagekit->stalled } 'a look-up is under way';
$t->sql(q{SELECT imagekit.pause('acme', 'wait')});
$imagekit->release;
eventually { waits() } 'waiting|0', 'what is found after the pause goes back';
stays { $t->files } '/looked_up.jpg', 'and is not deleted';
like($t->sql("SELECT answer FROM imagekit.explain('$ENDPOINT/looked_up.jpg') WHERE item = 'sending'"), qr/^paused by/, 'explain() says so, too');
$t->sql('SELECT imagekit.resume()');
eventually { $t->files } '', 'until it is resumed';

# While the tables are searched, by a proof that takes long.
$t->sql(q{CREATE TABLE pages (body text); INSERT INTO pages SELECT repeat('https://ik.imagekit.io/acme/other.png ', 1000) FROM generate_series(1, 6000);
	SELECT imagekit.watch('pages', '{body}', create_index => false)});
$t->setting('log_min_messages', 'debug1');
wait_for { $t->sql('SHOW log_min_messages') eq 'debug1' } 'the reload';
$t->mark_log;
remove('proven.jpg');
wait_for { $t->log =~ /asks watched tables about files to delete/ } 'the tables are being asked';
$t->sql('SELECT imagekit.pause()');
eventually { waits() . ' ' . $t->sql(q{SELECT last_error ~ '^paused' FROM imagekit.pending}) } 'waiting|0 t', 'a pause in the middle of the proof is heeded after it';
stays { $t->files } '/proven.jpg', 'the file stays';
$t->sql(q{SELECT imagekit.unwatch('pages'); DROP TABLE pages; SELECT imagekit.resume()});
eventually { $t->files } '', 'resumed, it goes';

# Between the last look and the wire --------------------------------------------------------------------------------------

# A drain past its lock, held up before the wire: whoever says stop waits until it has sent.
my $locker = $node->background_psql('postgres');
my $pauser = $node->background_psql('postgres');
$imagekit->fault(kind => 'stall', method => 'GET', contains => 'past.jpg');
remove('past.jpg');
wait_for { $imagekit->stalled } 'a look-up is under way';
$locker->query_safe('BEGIN; LOCK TABLE imagekit.arming');
$imagekit->release;
wait_for { $t->sql(q{SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 100 AND objid = 3 AND granted}) eq $t->worker } 'the drain is at the wire';
my $pid = pid_of($pauser);
start_in($pauser, q{SELECT imagekit.pause('acme')});
eventually { $t->sql($at_the_wire) } $pid, 'the commit of pause() waits for what is on its way to the wire';
is($t->sql('SELECT count(*) FROM imagekit.pauses'), 0, 'and is not to be seen before');
$locker->query_safe('COMMIT');
eventually { $t->files . $t->sql('SELECT count(*) FROM imagekit.pauses') } '1', 'which goes; then the pause holds';
$t->sql('SELECT imagekit.resume()');

# The other way round: a drain at the wire while the pause is being committed, as for want of a synchronous standby.
$imagekit->fault(kind => 'stall', method => 'GET', contains => 'before.jpg');
remove('before.jpg');
wait_for { $imagekit->stalled } 'a look-up is under way';
$t->setting('synchronous_standby_names', "'nobody'");
wait_for { $t->sql('SHOW synchronous_standby_names') eq 'nobody' } 'the reload';
start_in($pauser, q{SELECT imagekit.pause('acme')});
wait_for { $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'}) } 'the pause is being committed';
$imagekit->release;
eventually { $t->sql($at_the_wire) } $t->worker, 'a drain waits for the commit of pause()';
$t->setting('synchronous_standby_names', "''");
eventually { waits() } 'waiting|0', 'and heeds it';
stays { $t->files } '/before.jpg', 'nothing goes out';
$t->sql('SELECT imagekit.resume()');
eventually { $t->files } '', 'resumed, it goes';
$_->quit for $locker, $pauser;

# A prepared one counts when it is committed.
$t->sql(q{BEGIN; SELECT imagekit.pause('acme'); PREPARE TRANSACTION 'pause'});
remove('prepared.jpg');
eventually { $t->files } '', 'a pause that is prepared has no effect yet';
$t->sql(q{COMMIT PREPARED 'pause'});
remove('prepared2.jpg');
stays { $t->files } '/prepared2.jpg', 'committed, it has';
$t->sql('SELECT imagekit.resume()');
eventually { $t->files } '', 'until it is resumed';

# By hand -----------------------------------------------------------------------------------------------------------------

$imagekit->seed('/hand.jpg');
$imagekit->_post('seed', { account => 'other', files => ['/hand.jpg'] });
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM patches');
$t->sql(q{SELECT imagekit.pause('acme', 'not now')});
$imagekit->forget;
($status, $count, $said) = $node->psql('postgres', "SELECT imagekit.delete_file('$ENDPOINT/hand.jpg')");
is($count, 'f', 'delete_file() refuses for a paused account');
like($said, qr/WARNING:  image was not deleted: .*\nDETAIL:  failed: paused by \w+ since .*: not now; SELECT imagekit\.resume/, 'and says why');
is($old->query_safe("SELECT outcome || ' ' || (detail ~ '^paused by') FROM imagekit.delete_files('{$ENDPOINT/hand.jpg}')"), 'failed true',
	'also in a transaction that is older than the pause');
$old->query_safe('COMMIT');
$old->quit;
is($t->sql("SELECT outcome, detail ~ '^paused by' FROM imagekit.delete_files('{$ENDPOINT/hand.jpg,$OTHER/hand.jpg}')"), "failed|t\ndeleted|", 'delete_files() goes on with the others');
is(scalar(grep { $_->{account} eq 'acme' } $imagekit->journal), 0, 'nothing is asked for the account');
remove('drained.jpg');
$t->sql('CALL imagekit.drain()');
is($t->files, '/drained.jpg /hand.jpg', 'CALL imagekit.drain() leaves it alone');
is(scalar(grep { $_->{account} eq 'acme' } $imagekit->journal), 0, 'and asks nothing');

# Purges.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true'); INSERT INTO imagekit.purges (server, url) SELECT oid, 'https://ik.imagekit.io/acme/purge.jpg*' FROM pg_foreign_server WHERE srvname = 'acme'});
remove_other('wakes.jpg');
eventually { others() } '', 'the other account goes on';
stays { scalar $imagekit->purges } 0, 'no purge is sent for a paused account';
$t->sql('SELECT imagekit.resume()');
eventually { join ' ', map { $_->{url} } $imagekit->purges } qr/purge\.jpg\*/, 'resumed, it is';
eventually { $t->files } '/hand.jpg', 'and what waited goes';

# Nothing to do -----------------------------------------------------------------------------------------------------------

$t->sql('SELECT imagekit.pause()');
remove('quiet.jpg');
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/hand.jpg}')");
wait_for { $t->worker eq '' } 'the worker leaves';
stays { $t->worker } '', 'with nothing but paused work it is not even looked at, whatever the poll_interval', 4;

# A crash, and copies -----------------------------------------------------------------------------------------------------

$node->stop('immediate');
$node->start;
like(of('cause'), qr/^paused by/, 'after a crash it is still paused');
remove_other('crash.jpg');
stays { others() . $t->files } '/crash.jpg/hand.jpg /quiet.jpg', 'and sends nothing';
wait_for { $t->worker eq '' } 'the worker leaves';
$t->sql('CREATE DATABASE twin TEMPLATE postgres');
$t->sql('SELECT imagekit.enable()', 'twin');
stays { others() . $t->files } '/crash.jpg/hand.jpg /quiet.jpg', 'a copy made as a TEMPLATE is paused as well';
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
$t->sql('DROP DATABASE twin; CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');
is($t->sql('SELECT count(*) FROM imagekit.pauses', 'restored'), 0, 'a dump carries no pause');
$t->sql('DROP DATABASE restored');

# What pg_upgrade does to a server's oid.
$t->sql(q{UPDATE imagekit.pauses SET server = 1 WHERE name = 'acme'; SELECT imagekit.enable()});
like(of('cause'), qr/^paused by/, 'enable() finds the account of a pause again');
$t->sql('SELECT imagekit.resume()');
eventually { $t->files . others() . $t->pending } '0', 'resumed, all goes';

$t->sql(q{SELECT imagekit.pause('other'); DROP SERVER other CASCADE; SELECT imagekit.enable()});
is($t->sql('SELECT count(*) FROM imagekit.pauses'), 0, 'the pause of a dropped server goes');

done_testing();
