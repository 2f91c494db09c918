# What an operator says in a server's options holds for files that are in hand as well: no delete is sent that the options as they
# are would not let go.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
sub outcome { my ($name) = @_; return $t->sql("SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/$name'"); }

# Changes the options while the file is being looked up, in hand of the worker.
sub while_in_hand
{
	my ($id, $name, $options) = @_;
	$t->insert($id, $name);
	$imagekit->fault(kind => 'stall', method => 'GET', contains => $name);
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled == 1 } 'the file is looked up';
	$t->sql("ALTER SERVER acme OPTIONS ($options)");
	$imagekit->release;
	return;
}

while_in_hand(1, 'brand.jpg', q{ADD protect '/brand.jpg'});
eventually { outcome('brand.jpg') } 'skipped|protected by "/brand.jpg"', 'a file that is protected meanwhile stays';
while_in_hand(2, 'try.jpg', q{ADD dry_run 'true'});
eventually { outcome('try.jpg') } qr/^skipped\|dry run/, 'so does one when deletes are to be rehearsed only';
is($t->files, '/brand.jpg /try.jpg', 'both are there');
is(scalar(() = $imagekit->deletes), 0, 'no delete was sent');

# What does not concern deletes holds nothing up.
$t->sql(q{ALTER SERVER acme OPTIONS (DROP dry_run)});
while_in_hand(3, 'other.jpg', q{ADD hold_above '7000'});
eventually { outcome('other.jpg') } 'deleted|', 'files go on when nothing that matters has changed';

# The proof may take long, and an operator's word may come in the middle of it.
$t->sql(q{CREATE TABLE pages (body text); INSERT INTO pages SELECT repeat('https://ik.imagekit.io/acme/other.png ', 1000) FROM generate_series(1, 6000);
	SELECT imagekit.watch('pages', '{body}', create_index => false)});
$t->setting('log_min_messages', 'debug1');
wait_for { $t->sql('SHOW log_min_messages') eq 'debug1' } 'the reload';

sub while_it_is_proven
{
	my ($id, $name, $sql) = @_;
	$t->insert($id, $name);
	$t->mark_log;
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $t->log =~ /asks watched tables about files to delete/ } 'the tables are being asked';
	$t->sql($sql);
	return;
}

while_it_is_proven(4, 'late.jpg', q{ALTER SERVER acme OPTIONS (SET protect '/late.jpg')});
eventually { outcome('late.jpg') } 'skipped|protected by "/late.jpg"', 'a file that is protected while the tables are searched stays';
while_it_is_proven(5, 'stop.jpg', 'SELECT imagekit.disable()');
eventually { $t->sql(q{SELECT state FROM imagekit.pending WHERE url LIKE '%stop.jpg'}) . ' ' . $t->worker } qr/^waiting \d*$/, 'what the word to stop finds there waits';
stays { $t->files } '/brand.jpg /late.jpg /stop.jpg /try.jpg', 'and nothing is deleted', 3;

done_testing();
