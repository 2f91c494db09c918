# Values up to 100 MB, with the URL at their very end: they are searched, in memory of a few times their size, and read only when an
# UPDATE has changed them. What is longer than any URL is not taken for one.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $MB = 1024 * 1024;
my $t = ImageKit::Test->new(ready => 0, settings => { shared_buffers => '8MB', max_wal_size => '4GB', autovacuum => 'off' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->prepare(enable => 0);

# What a statement costs its backend at its peak, beyond what the session had before, in MB; and its messages.
sub run_measured
{
	my ($sql, $what) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $status = sub { return slurp_file("/proc/$pid/status") =~ /^$_[0]:\s+(\d+) kB/m ? $1 / 1024 : die "no $_[0]"; };
	my ($before, $start) = ($status->('VmRSS'), time());
	$session->query($sql);
	my ($peak, $took) = ($status->('VmHWM') - $before, time() - $start);
	my $messages = $session->{stderr};
	$session->quit;
	note sprintf('%s: %.0f MB, %.2f s', $what, $peak, $took);
	return { mb => $peak, seconds => $took, messages => $messages };
}

# File names of what is queued; empties the queue.
sub queued
{
	my $names = $t->sql(q{SELECT string_agg(regexp_replace(url, '.*/', ''), ' ' ORDER BY url) FROM imagekit.pending});
	$t->sql('TRUNCATE imagekit.outbox');
	return $names;
}

# Values ------------------------------------------------------------------------------------------------------------------

# Each as an expression of URL, and its size in MB. Filler that compresses well makes them quick to store, and no smaller to read.
my @values = (
	[ text => 'text', q{repeat('filler text, ', 8000000) || URL}, 100 ],
	[ uncompressed => 'text', q{(SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, 640000) i) || ' ' || URL}, 20 ],
	[ elements => 'text[]', q{array_fill(repeat('x', 92), ARRAY[1100000]) || URL}, 100 ],
	[ strings => 'json', q{('["' || repeat(repeat('x', 100) || '", "', 300000) || URL || '"]')::json}, 30 ],
	[ string => 'json', q{('{"long": "' || repeat('filler text, ', 8000000) || URL || '"}')::json}, 100 ],
	[ document => 'jsonb', q{jsonb_build_object('a', repeat('filler text, ', 8000000), 'z', jsonb_build_array(URL))}, 100 ],
	[ items => 'jsonb', q{(SELECT jsonb_agg(jsonb_build_object('url', repeat('x', 900))) FROM generate_series(1, 35000)) || jsonb_build_object('url', URL)}, 30 ]);

for my $value (@values)
{
	my ($name, $type, $expression, $mb) = @$value;
	my $table = "large_$name";
	$t->sql("CREATE TABLE $table (id int PRIMARY KEY, note int, value $type)");
	$t->sql("ALTER TABLE $table ALTER COLUMN value SET STORAGE EXTERNAL") if $name eq 'uncompressed';
	$t->sql(qq{SELECT imagekit.watch('$table', '{value}')});
	$t->sql("INSERT INTO $table VALUES (1, 0, " . ($expression =~ s/URL/'$ENDPOINT\/$name-one.jpg'::text/r) . '), (2, 0, '
		. ($expression =~ s/URL/'$ENDPOINT\/$name-two.jpg'::text/r) . ')');
	# Stored anew without being read: the others' compressed chunks are copied.
	$t->sql("INSERT INTO $table SELECT id + 2, note, value FROM $table");
	my $size = $t->sql("SELECT round(octet_length(value::text) / 1048576.0) FROM $table WHERE id = 1");
	cmp_ok($size, '>=', $mb * 0.9, "$name: a value of $size MB");

	# A statement that reads the value needs at least its size; the memory tells that it did not.
	my $run = run_measured("UPDATE $table SET note = 1 WHERE id = 1", "$name, UPDATE of another column");
	cmp_ok($run->{mb}, '<', 0.3 * $mb, "$name: an UPDATE of another column does not read the value");
	$run = run_measured("UPDATE $table SET note = 2, value = value WHERE id = 1", "$name, UPDATE that writes it unchanged");
	cmp_ok($run->{mb}, '<', 0.3 * $mb, "$name: nor does one that writes it unchanged");
	is(queued(), '', "$name: nothing is queued for them");

	my $most = 4 * $mb + 20;
	$run = run_measured("UPDATE $table SET value = (SELECT value FROM $table WHERE id = 2) WHERE id = 1", "$name, UPDATE that changes it");
	is(queued(), "$name-one.jpg", "$name: an UPDATE that changes its end queues the old URL");
	cmp_ok($run->{mb}, '<', $most, "$name: in bounded memory, with two values to read");
	$run = run_measured("DELETE FROM $table WHERE id = 3", "$name, DELETE");
	is(queued(), "$name-one.jpg", "$name: DELETE queues the URL");
	cmp_ok($run->{mb}, '<', $most, "$name: in bounded memory");
	is($run->{messages}, '', "$name: without a message");
	# The drain at the end of this test reads what is left.
	$t->sql("SET client_min_messages = warning; DROP TABLE $table") if $type =~ /^json/ && $name ne 'document';
}

# Several such rows in one statement cost no more than one.
my $run = run_measured('DELETE FROM large_text', 'text, DELETE of three rows');
is(queued(), 'text-two.jpg', 'three rows in one DELETE, whose URL is queued once');
cmp_ok($run->{mb}, '<', 4 * 100 + 20, 'in the memory of one');
$run = run_measured('TRUNCATE large_document', 'document, TRUNCATE of three rows');
is(queued(), 'document-two.jpg', 'and by TRUNCATE');
cmp_ok($run->{mb}, '<', 4 * 100 + 20, 'in the memory of one');

# No URL ------------------------------------------------------------------------------------------------------------------

# What begins like a URL and does not end. ImageKit's own limit for a path is far below 64 kB.
$t->sql(qq{
	CREATE TABLE endless (id int PRIMARY KEY, body text, doc jsonb, list text[]);
	SELECT imagekit.watch('endless', '{body, doc, list}');
	INSERT INTO endless (id, body) SELECT i, '$ENDPOINT/' || repeat('endless-', 12500000) || i FROM generate_series(1, 4) i;
	VACUUM});
my $journal = sub { return $t->sql(q{SELECT pg_total_relation_size('imagekit.outbox')}); };
my $before = $journal->();
my $wal = $t->sql('SELECT pg_current_wal_insert_lsn()');
$run = run_measured("BEGIN; DELETE FROM endless WHERE id = 1; SAVEPOINT s; DELETE FROM endless WHERE id = 2; UPDATE endless SET body = '$ENDPOINT/end.jpg' WHERE id = 3; COMMIT",
	'endless text');
my $growth = $journal->() - $before;
unlike($run->{messages}, qr/ERROR/, 'rows with an endless URL can be deleted and updated');
is((() = $run->{messages} =~ /WARNING:/g), 1, 'with one warning for the transaction');
like($run->{messages}, qr/WARNING:  a URL of \d+ bytes is not queued for deletion\nDETAIL:  .*"endless"/, 'that says what is not queued, and of which table');
unlike($run->{messages}, qr/endless-endless-/, 'and does not hold the URL');
is($t->sql('SELECT count(*) FROM endless'), 2, 'the rows are gone');
is(queued(), '', 'nothing is queued');
cmp_ok($growth, '<', $MB, 'and nothing of it is in the journal');
cmp_ok($t->sql("SELECT pg_current_wal_insert_lsn() - '$wal'"), '<', 10 * $MB, 'nor in the WAL');
cmp_ok($run->{mb}, '<', 4 * 100 + 20, 'in bounded memory');
$run = run_measured("DELETE FROM endless WHERE id = 4", 'endless text, next transaction');
is((() = $run->{messages} =~ /WARNING:/g), 1, 'the next transaction warns again');
is(queued(), '', 'and queues nothing either');

# The limit itself, and what stands beside.
my $longest = 64 * 1024;
my $room = $longest - length("$ENDPOINT/");
$t->sql("TRUNCATE endless; TRUNCATE imagekit.outbox; INSERT INTO endless (id, body) VALUES (1, '$ENDPOINT/' || repeat('x', $room))");
is($t->messages('DELETE FROM endless'), '', "a URL of $longest bytes is no matter");
is($t->sql('SELECT string_agg(length(url)::text, $$ $$) FROM imagekit.pending'), $longest, 'and is queued');
queued();
my $long = "('$ENDPOINT/' || repeat('x', $room + 1))";
$t->sql("INSERT INTO endless VALUES (1, 'short: $ENDPOINT/a.jpg', jsonb_build_array('$ENDPOINT/b.jpg', $long, '$ENDPOINT/c.jpg'), ARRAY['$ENDPOINT/d.jpg', $long, '$ENDPOINT/e.jpg'])");
is((() = $t->messages('DELETE FROM endless') =~ /WARNING:  a URL of 65537 bytes/g), 1, 'one that is a byte longer is not');
is(queued(), 'a.jpg b.jpg c.jpg d.jpg e.jpg', 'but all others of the row are');

# The drain ---------------------------------------------------------------------------------------------------------------

# A use at the end of a large value is a use.
$imagekit->seed('/uncompressed-two.jpg', '/elements-two.jpg', '/free.jpg');
$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/uncompressed-two.jpg,$ENDPOINT/elements-two.jpg,$ENDPOINT/free.jpg}'); DELETE FROM patches; SELECT imagekit.enable()");
eventually { $t->history } 'kept elements-two.jpg, deleted free.jpg, kept uncompressed-two.jpg', 'a file that a large value uses is kept', 60;
is($t->files, '/elements-two.jpg /uncompressed-two.jpg', 'and there');

done_testing();
