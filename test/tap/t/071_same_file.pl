# Rows that name one file in different ways, in transactions one after the other: each is settled, and nobody waits for ever.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(ready => 0);
$t->prepare(server => { protect => '/keep/*' });
my $imagekit = $t->imagekit;
$t->sql(q{CREATE TABLE pairs (id int PRIMARY KEY, url text, file_id text); SELECT imagekit.watch('pairs', '{url:file_id}')});
sub in_hand { return $t->sql('SELECT coalesce(sum(cardinality(urls)), 0) FROM imagekit.claims'); }

# By its path, and by its fileId as well: found to be one when both are there. A third row waits behind the second of them; with
# the protected one, whose fate is known at once, all of the first claim are settled the moment the file has gone.
my ($id) = $imagekit->seed('/same.jpg');
my $url = "$ENDPOINT/same.jpg";
$t->sql("INSERT INTO pairs VALUES (1, '$url', NULL), (2, '$url', '$id'), (3, '$ENDPOINT/keep/logo.png', NULL), (4, '$url', NULL)");
$t->sql('SELECT imagekit.disable()');
$t->sql("DELETE FROM pairs WHERE id = $_") for 1 .. 3;
$imagekit->fault(kind => 'stall', ms => 500, method => 'GET', count => 2);
$t->sql('SELECT imagekit.enable()');
wait_for { $imagekit->stalled == 2 } 'the file is looked up by its path, and by its fileId';
$t->sql('DELETE FROM pairs WHERE id = 4');
wait_for { in_hand() eq '4' || $t->files eq '' } 'the other row is in hand as well';
eventually { $t->files . $t->pending } '0', 'whoever waited behind a file that turned out to be another row\'s goes on';
is($t->sql(q{SELECT string_agg(outcome, ' ' ORDER BY outcome) FROM imagekit.history}), 'deleted deleted not_found skipped', 'each is settled once');

# One of them is deleted before the other has been looked up: that it is not there then is no sign of anything.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1')});
$t->sql('SELECT imagekit.disable()');
for my $i (1 .. 25)
{
	my ($of) = $imagekit->seed("/twice$i.jpg");
	$t->sql("INSERT INTO pairs VALUES (100 + $i, '$ENDPOINT/twice$i.jpg', NULL), (200 + $i, '$ENDPOINT/twice$i.jpg', '$of')");
}
$t->sql("DELETE FROM pairs WHERE id / 100 = $_") for 1 .. 2;
$imagekit->fault(kind => 'stall', method => 'GET', contains => 'name');
$t->mark_log;
$t->sql('SELECT imagekit.enable()');
wait_for { $imagekit->stalled == 1 && $t->files eq '' } 'all have gone by their fileIds';
$imagekit->release;
eventually { $t->pending } '0', 'those that name them by their paths are settled as well';
is(join(' ', $t->log_lines(qr/stops sending/)), '', 'and the account goes on');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});

# Of two rows that name one file one stands for both: what is in doubt of it is so of the other.
$t->setting('imagekit_cleanup.retry_delay', "'10min'");
$t->setting('imagekit_cleanup.retry_delay_max', "'10min'");
wait_for { $t->sql('SHOW imagekit_cleanup.retry_delay_max') eq '10min' } 'the reload';
$t->sql('SELECT imagekit.disable()');
$t->insert($_, 'doubt.jpg') for 1 .. 2;
$t->sql("DELETE FROM patches WHERE id = $_") for 1 .. 2;
$imagekit->fault(kind => 'text_500', method => 'DELETE');
$t->sql('SELECT imagekit.enable()');
eventually { $t->sql('SELECT state, in_doubt, count(*) FROM imagekit.backlog GROUP BY 1, 2') } 'retrying|t|2', 'both are in doubt when the answer does not tell whether it has gone';

done_testing();
