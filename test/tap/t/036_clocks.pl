# Clocks that disagree: a file that was uploaded again after its row had gone is kept, whichever clock is ahead.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.clock_skew' => undef });
my $imagekit = $t->imagekit;
my $id = 0;

is($t->sql('SHOW imagekit_cleanup.clock_skew'), '2s', 'the allowance');

# Removes an image that was uploaded AGE seconds before, by the true time; OFFSET is how far ImageKit's clock is ahead of
# the database's. Returns what became of it.
sub remove
{
	my ($name, $offset, $age) = @_;
	$imagekit->switch(clock_offset_ms => $offset * 1000);
	my $uploaded = int((time() + $offset - $age) * 1000);
	$imagekit->seed({ filePath => "/$name.jpg", createdAt => $uploaded, updatedAt => $uploaded });
	$id++;
	$t->sql("INSERT INTO patches VALUES ($id, '{$ENDPOINT/$name.jpg}'); DELETE FROM patches");
	return wait_for { $t->sql("SELECT outcome || ' ' || coalesce(detail, '') FROM imagekit.history WHERE url LIKE '%/$name.jpg'") } "$name is settled";
}

# Without a Date the allowance alone counts.
$imagekit->switch(date_header => 'off');
like(remove('old', 0, 10), qr/^deleted/, 'no Date: an old file is deleted');
like(remove('close', 0, 1), qr/^skipped newer upload: .* within imagekit_cleanup\.clock_skew/, 'one uploaded a second before its row went is kept');
like(remove('after', 0, -5), qr/^skipped newer upload: .*after/, 'one uploaded afterwards is kept');

$imagekit->switch(date_header => 'on');
for my $offset (-600, -5, 0, 5, 600)
{
	my $name = $offset < 0 ? 'behind' . -$offset : "ahead$offset";
	# A new worker: the offsets it has seen are those of this clock.
	$t->node->restart;
	like(remove("$name-old", $offset, 10), qr/^deleted/, "ImageKit's clock $offset s ahead: an old file is deleted");
	like(remove("$name-again", $offset, -1), qr/^skipped newer upload/, 'one uploaded a second after its row went is kept');
	like(remove("$name-close", $offset, 0.5), qr/^skipped newer upload/, 'and one just before, for who can tell');
}

# An hour and more ahead: such a clock is not believed.
$t->node->restart;
like(remove('far-ahead', 7200, -1), qr/^skipped newer upload/, 'two hours ahead: kept');
like(remove('far-ahead-old', 7200, 10), qr/^skipped newer upload/, 'like an older one');

# A setting, obeyed at a reload.
$t->setting('imagekit_cleanup.clock_skew', "'30s'");
wait_for { $t->sql('SHOW imagekit_cleanup.clock_skew') eq '30s' } 'the reload';
$t->node->restart;
like(remove('wide', 0, 20), qr/^skipped newer upload/, 'clock_skew = 30s keeps what was uploaded 20 s before');

# By hand the file that is there is meant.
$imagekit->switch(clock_offset_ms => 0);
$imagekit->seed('/by-hand.jpg');
is($t->sql("SELECT imagekit.delete_file('$ENDPOINT/by-hand.jpg')"), 't', 'delete_file() deletes what was uploaded just now');

# Without a time that can be read, nothing would say that another was uploaded in its place.
my ($timeless) = $imagekit->seed('/timeless.jpg');
$imagekit->fault(kind => 'status', status => 200, method => 'GET', count => 0, json => [
	{ type => 'file', fileId => $timeless, name => 'timeless.jpg', filePath => '/timeless.jpg', url => "$ENDPOINT/timeless.jpg",
	  createdAt => '2025-03-04T10:11:12+0000', updatedAt => 1741083072345 } ]);
$id++;
$t->sql("INSERT INTO patches VALUES ($id, '{$ENDPOINT/timeless.jpg}'); DELETE FROM patches");
eventually { $t->sql('SELECT state, last_error FROM imagekit.pending') } 'failed|ImageKit tells no time of its upload that can be read: createdAt, updatedAt',
	'a file without a time is left to a person';
is($t->files(prefix => '/timeless'), '/timeless.jpg', 'and stays');
$imagekit->no_faults;

# By hand, too, what was found a while ago is looked up anew: here the second delete has to wait for the pace.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1', SET write_rate '0.055', SET write_burst '1')});
$imagekit->seed('/first.jpg', '/second.jpg');
my $hand = $t->node->background_psql('postgres', on_error_stop => 0);
$hand->query_until(qr/begun/, "\\echo begun\nSELECT outcome, detail FROM imagekit.delete_files('{$ENDPOINT/first.jpg,$ENDPOINT/second.jpg}');\n\\echo done\n");
wait_for { $t->files(prefix => '/first') eq '' } 'the first is gone';
$imagekit->seed('/second.jpg');
like($hand->query_until(qr/done/, ''), qr/skipped\|newer upload/, 'one that was uploaded again in the middle of delete_files() is kept');
$hand->quit;

done_testing();
