# A new version arrives under a running server: its SQL by ALTER EXTENSION UPDATE while a request hangs, its library by another file in
# the place of the old one, one of them before the other. The worker goes on through all of it.

use strict;
use warnings;

use ImageKit::Installation;
use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $installation = ImageKit::Installation->new;
my $t = ImageKit::Test->new(cluster => [ install_path => $installation->path ], settings => { 'imagekit_cleanup.request_timeout' => '60s' });
my $imagekit = $t->imagekit;
my $id = 0;
$t->mark_log;

sub hang
{
	my ($name) = @_;
	$t->insert(++$id, "$name.jpg");
	$imagekit->fault(kind => 'stall', method => 'GET', contains => "$name.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'a request hangs';
	return $t->worker;
}

sub works
{
	my ($what) = @_;
	my $name = 'works' . ++$id;
	$t->insert($id, "$name.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	eventually { $t->files } '', $what;
	return;
}

sub version { return $t->sql(q{SELECT extversion FROM pg_extension WHERE extname = 'imagekit_cleanup'}); }
sub complaints { return join("\n", $t->log_lines(qr/ERROR|FATAL|PANIC|WARNING/)); }

# New SQL -----------------------------------------------------------------------------------------------------------------------

$installation->update_script('1.0', '1.1', q{
	ALTER TABLE imagekit.backlog ADD COLUMN note text;
	ALTER TABLE imagekit.history ADD COLUMN note text DEFAULT 'from 1.1';
	ALTER TABLE imagekit.outbox ALTER COLUMN pack SET STORAGE EXTERNAL;
	ALTER TABLE imagekit.arming ADD COLUMN note text;
	CREATE FUNCTION imagekit.path_of(url text) RETURNS text LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'imagekit_library_path';
	DROP FUNCTION imagekit.explain(text)});

my $session = $t->node->background_psql('postgres');
$session->query_safe("INSERT INTO patches VALUES (1000, '{$ENDPOINT/session.jpg}')");
my $worker = hang('during');
my $start = time();
$t->sql(q{BEGIN; ALTER EXTENSION imagekit_cleanup UPDATE TO '1.1'; ROLLBACK});
$t->sql(q{ALTER EXTENSION imagekit_cleanup UPDATE TO '1.1'});
cmp_ok(time() - $start, '<', 1, 'ALTER EXTENSION UPDATE does not wait for a request that hangs');
is(version(), '1.1', 'it is the new version');
is($t->worker, $worker, 'the worker is still there');
$imagekit->release;
eventually { $t->files . $t->sql('SELECT outcome, note FROM imagekit.history') } 'deleted|from 1.1', 'and settles what it had begun before, in the new tables';
is($t->worker, $worker, 'as the same process');
works('it goes on');
$imagekit->seed('/session.jpg');
$session->query_safe('DELETE FROM patches WHERE id = 1000');
eventually { $t->files } '', 'so does a session that has known the old ones';
is(complaints(), '', 'nobody complains');

# In the middle of it.
$installation->update_script('1.1', '1.2', q{ALTER TABLE imagekit.backlog DROP COLUMN note});
hang('locked');
my $updater = $t->node->background_psql('postgres');
$updater->query_safe(q{BEGIN; ALTER EXTENSION imagekit_cleanup UPDATE TO '1.2'});
$imagekit->release;
wait_for { $t->sql(q{SELECT wait_event_type FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'}) eq 'Lock' } 'the worker waits for the update';
$updater->query_safe('COMMIT');
$updater->quit;
eventually { $t->files . $t->pending } '0', 'an update that is committed while the worker waits for its tables does not disturb it';
is(complaints(), '', 'nor does it complain');

# A new library -----------------------------------------------------------------------------------------------------------------

# The server has loaded the old one; its SQL may be ahead.
$installation->update_script('1.2', '1.3', q{
	CREATE FUNCTION imagekit.of_tomorrow() RETURNS text LANGUAGE c AS 'MODULE_PATHNAME', 'imagekit_of_tomorrow'});
$worker = hang('replaced');
$installation->replace_library;
like($t->messages(q{ALTER EXTENSION imagekit_cleanup UPDATE TO '1.3'}), qr/ERROR:  could not find function "imagekit_of_tomorrow" in file/,
	'an update whose library the server has not loaded yet fails as a whole');
is(version(), '1.2', 'and leaves the version as it was');
$t->mark_log;
$t->sql("SELECT pg_terminate_backend($worker)");
wait_for { $t->worker ne $worker } 'it goes';
$imagekit->release;
eventually { $t->files . $t->pending } '0', 'a worker that begins after the library was replaced works';
is($session->query_safe("SELECT imagekit.path_of('$ENDPOINT/a.jpg')"), '/a.jpg', 'a session with the old library works');
works('and a new one');

# A new library, an older SQL that lacks what it knows (explain() is gone since 1.1), and more columns than it knows.
$session->quit;
$t->node->restart;
works('after a restart, the new library works with the SQL that is there');
like($t->messages("SELECT imagekit.explain('$ENDPOINT/a.jpg')"), qr/ERROR:  function imagekit\.explain\(unknown\) does not exist/, 'what that lacks is missing, and nothing else');
is(join("\n", grep { !/terminating (?:background worker|connection)|function imagekit\.explain/ } $t->log_lines(qr/ERROR|FATAL|PANIC|WARNING/)), '', 'no complaint');

done_testing();
