# With synchronous_commit off a commit is seen before it is on disk. Whatever a delete rests on must be there before it is sent, or
# a crash brings back a row whose file has gone.

use strict;
use warnings;

use ImageKit::Crash;
use ImageKit::Test;
use Test::More;

# Nobody but us writes to disk what was not asked to be there.
my $t = ImageKit::Test->new(settings => {
	wal_writer_delay => '10s', wal_writer_flush_after => '1GB', bgwriter_delay => '10s', 'imagekit_cleanup.enabled' => 'on', autovacuum => 'off' });
my $imagekit = $t->imagekit;

# Two rows use the file. The second lets it go, asynchronously, when the first one's removal has long been taken up: by a drain that
# takes no more than one, so that it has nothing to write in between.
$t->sql('SELECT imagekit.disable()');
$t->insert(1, 'used.jpg');
$t->insert(2);
$t->sql(qq{UPDATE patches SET images = '{$ENDPOINT/used.jpg}' WHERE id = 2});
$t->sql('DELETE FROM patches WHERE id = 1');
$imagekit->fault(kind => 'stall', method => 'GET');
$imagekit->fault(kind => 'stall_after', method => 'DELETE');
my $drain = $t->node->background_psql('postgres', on_error_stop => 0);
my $writer = $t->node->background_psql('postgres', on_error_stop => 0);
$writer->query_safe('SET synchronous_commit = off');
$drain->query_until(qr/begun/, "\\echo begun\nSET application_name = 'by hand'; SELECT imagekit.enable(); CALL imagekit.drain(1);\n");
wait_for { $imagekit->stalled == 1 } 'the file is looked up';
$writer->query_safe('DELETE FROM patches WHERE id = 2');
$imagekit->release;
wait_for { $t->files eq '' } 'the file has gone, and nobody knows yet';
kill_every_process($t->node);
is($t->sql('SELECT count(*) FROM patches'), '0', 'no row that used it is back after a crash');

# Where the WAL ends at the beginning of a segment, behind a header that nobody has written yet, or anywhere else in a page.
for my $id (10 .. 12)
{
	$imagekit->no_faults;
	$imagekit->seed("/segment$id.jpg");
	is($t->sql("SELECT pg_switch_wal() IS NOT NULL; SELECT imagekit.delete_file('$ENDPOINT/segment$id.jpg')"), "t\nt", 'a delete at the end of a segment');
}

done_testing();
