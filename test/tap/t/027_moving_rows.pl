# A row that is on the move while the watched tables are searched for its image is found all the same: in a page behind the
# search, in a page added after it began, in a partition that it has passed. A row is updated in other columns; its image stays.
#
# Once by the index, and once by reading the tables as a whole. All files have the same name, so that the index names all rows.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my ($t, $imagekit, $searching, $changing, $searcher);
for my $create_index ('true', 'false')
{
	subtest $create_index eq 'true' ? 'by the index' : 'without an index' => sub { moving_rows($create_index) };
}
done_testing();

sub moving_rows
{
my ($create_index) = @_;
$t = ImageKit::Test->new(name => "index_$create_index", settings => { max_prepared_transactions => 5 });
$imagekit = $t->imagekit;

# The other rows are what the search is busy with, for a second or so: many URLs of the account, none of them asked for.
# No vacuum: where it finds room decides where a row goes to.
$t->sql(qq{
	CREATE TABLE filler AS SELECT i AS id, (SELECT string_agg(format('https://ik.imagekit.io/acme/filler/%s/%s/same.jpg', i, j), ' ') FROM generate_series(1, 40) j) AS body
	FROM generate_series(1, 20000) i;

	CREATE TABLE heap (id int PRIMARY KEY, image text, body text, pad text) WITH (autovacuum_enabled = off);
	ALTER TABLE heap ALTER pad SET STORAGE PLAIN;
	SELECT imagekit.watch('heap', '{image, body}', create_index => $create_index);

	CREATE TABLE parts (id int, region text, image text, body text) PARTITION BY LIST (region);
	CREATE TABLE parts_first PARTITION OF parts FOR VALUES IN ('first') WITH (autovacuum_enabled = off);
	CREATE TABLE parts_middle PARTITION OF parts FOR VALUES IN ('middle') WITH (autovacuum_enabled = off);
	CREATE TABLE parts_last PARTITION OF parts FOR VALUES IN ('last') WITH (autovacuum_enabled = off);
	SELECT imagekit.watch('parts', '{image, body}', create_index => $create_index);

	-- Is this session reading this table now? The search keeps no lock of a table that it has done.
	CREATE FUNCTION reads(session int, relation regclass) RETURNS boolean LANGUAGE sql AS \$\$
		SELECT EXISTS (SELECT FROM pg_locks l WHERE l.pid = session AND l.relation = reads.relation AND l.locktype = 'relation' AND l.granted) \$\$;
	CREATE FUNCTION wait_until_reads(session int, relation regclass) RETURNS void LANGUAGE plpgsql AS \$\$
		DECLARE deadline timestamptz := clock_timestamp() + '20 s';
		BEGIN
			WHILE NOT reads(session, relation) LOOP
				IF clock_timestamp() > deadline THEN RAISE 'nobody reads %', relation; END IF;
			END LOOP;
		END \$\$;
	CREATE PROCEDURE update_while_read(session int, relation regclass, change text, INOUT times int) LANGUAGE plpgsql AS \$\$
		BEGIN
			times := 0;
			PERFORM wait_until_reads(session, relation);
			LOOP
				EXECUTE change;
				COMMIT;
				EXIT WHEN NOT reads(session, relation);
				times := times + 1;
			END LOOP;
		END \$\$});

$searching = $t->node->background_psql('postgres');
$changing = $t->node->background_psql('postgres');
$searcher = $searching->query_safe('SELECT pg_backend_pid()');

# Pages -----------------------------------------------------------------------------------------------------------------------

# One version fills more than half a page, so that each UPDATE puts the next one into a page added for it.
$t->sql(qq{
	INSERT INTO heap (id, body) SELECT id, body FROM filler;
	INSERT INTO heap VALUES (0, '$ENDPOINT/page/same.jpg', NULL, repeat('p', 5000))});
for my $round (1 .. 3)
{
	my $before = $t->sql(q{SELECT ctid FROM heap WHERE id = 0});
	kept_while("to new pages, $round", 'page/same.jpg',
		q{CALL update_while_read($0, 'heap', $$UPDATE heap SET pad = repeat(md5(random()::text), 150) WHERE id = 0$$, 0)});
	isnt($t->sql(q{SELECT ctid FROM heap WHERE id = 0}), $before, "to new pages, $round: the row is elsewhere");
}
is($t->sql('SELECT image FROM heap WHERE id = 0'), "$ENDPOINT/page/same.jpg", 'and has had its image all the time');

# Into the first page, the only one with room. It is read first, the row's own page last.
$t->sql(qq{
	SELECT imagekit.unwatch('heap');
	TRUNCATE heap;
	INSERT INTO heap (id, body) SELECT id, body FROM filler;
	INSERT INTO heap VALUES (0, '$ENDPOINT/front/same.jpg', NULL, repeat('p', 5000));
	DELETE FROM heap WHERE ctid < '(1,0)';
	SELECT imagekit.watch('heap', '{image, body}', create_index => false)});
# Too large by now for watch() to make it.
$t->sql('CREATE INDEX ON heap USING gin (image imagekit.url_text_ops, body imagekit.url_text_ops)') if $create_index eq 'true';
$t->sql('VACUUM (INDEX_CLEANUP on) heap');
kept_while('to the first page', 'front/same.jpg',
	q{SELECT wait_until_reads($0, 'heap'); UPDATE heap SET pad = repeat('q', 5000) WHERE id = 0; SELECT reads($0, 'heap')::int});
is($t->sql(q{SELECT ctid::text LIKE '(0,%' FROM heap WHERE id = 0}), 't', 'to the first page: the row is there');
$t->sql(q{SELECT imagekit.unwatch('heap')});

# Partitions ------------------------------------------------------------------------------------------------------------------

$t->sql(q{INSERT INTO parts (id, region, body) SELECT id, 'middle', body FROM filler});

# While the middle one is read, the first has been and the last has not.
my $to_first = q{SELECT wait_until_reads($0, 'parts_middle'); UPDATE parts SET region = 'first' WHERE id = ID; SELECT reads($0, 'parts_middle')::int};
for my $id (1 .. 3)
{
	$t->sql("INSERT INTO parts VALUES (-$id, 'last', '$ENDPOINT/part$id/same.jpg')");
	kept_while("to a partition that was read, $id", "part$id/same.jpg", $to_first =~ s/ID/-$id/r);
}
is($t->sql(q{SELECT count(*) FROM parts_first WHERE image LIKE '%/part_/%'}), 3, 'the rows are there');

# A row that is new when the search begins, and not committed; it is committed and moves on before its turn comes. By a prepared
# transaction: for one that runs statements meanwhile the search would wait.
my $commit_to_first = $to_first =~ s/; UPDATE/; COMMIT PREPARED 'new'; UPDATE/r;
kept_while('inserted before the search, committed and moved during it', 'new/same.jpg', $commit_to_first =~ s/ID/-10/r,
	before => "BEGIN; INSERT INTO parts VALUES (-10, 'last', '$ENDPOINT/new/same.jpg'); PREPARE TRANSACTION 'new'");
$t->sql("INSERT INTO parts VALUES (-11, 'last')");
kept_while('given its image before the search, committed and moved during it', 'given/same.jpg', $commit_to_first =~ s/ID/-11/r,
	before => "BEGIN; UPDATE parts SET image = '$ENDPOINT/given/same.jpg' WHERE id = -11; PREPARE TRANSACTION 'new'");
is($t->sql(q{SELECT string_agg(region, ' ') FROM parts WHERE id IN (-10, -11)}), 'first first', 'they have moved');

# In a table that another transaction is just adding to the watched ones, not seen until it commits.
for my $add (q{CREATE TABLE added (LIKE parts); INSERT INTO added VALUES (-20, 'added', 'IMAGE'); ALTER TABLE parts ATTACH PARTITION added FOR VALUES IN ('added')},
	q{CREATE TABLE added_child () INHERITS (heap); INSERT INTO added_child VALUES (-20, 'IMAGE')})
{
	my ($name) = $add =~ /CREATE TABLE (\w+)/;
	$imagekit->seed("/$name/same.jpg");
	$t->sql('TRUNCATE heap') if $name eq 'added_child';
	$t->sql(qq{SELECT imagekit.watch('heap', '{image}', create_index => $create_index)}) if $name eq 'added_child';
	$changing->query_safe('BEGIN');
	$changing->query_safe($add =~ s{IMAGE}{$ENDPOINT/$name/same.jpg}r);
	is($searching->query("SELECT imagekit.delete_file('$ENDPOINT/$name/same.jpg')"), 'f', "$name: not deleted before it is committed");
	$changing->query_safe('COMMIT');
	is($searching->query("SELECT imagekit.delete_file('$ENDPOINT/$name/same.jpg')"), 'f', "$name: nor afterwards");
	is($t->files(prefix => "/$name/same.jpg"), "/$name/same.jpg", "$name: the file is there");
}

# It can be otherwise ---------------------------------------------------------------------------------------------------------

$changing->quit;
$t->sql('DELETE FROM parts WHERE id = -1');
eventually { $t->files(prefix => '/part') } '/part2/same.jpg /part3/same.jpg', 'the file goes when its row does', 60;
$searching->quit;
$t->node->stop('immediate');
return;
}

# Asks for the file's deletion in one session while the other runs SQL, which ends with a number: how often it has changed the row
# while the search was reading. $0 is the searching session. OPTIONS: before => SQL that the other runs before the search.
sub kept_while
{
	my ($name, $file, $sql, %options) = @_;
	$imagekit->seed("/$file");
	$changing->query_safe($options{before}) if $options{before};
	$sql =~ s/\$0/$searcher/g;
	$changing->query_until(qr/begun/, "\\echo begun\n$sql;\n");
	my $gone = $searching->query("SELECT imagekit.delete_file('$ENDPOINT/$file')");
	my ($changes) = $changing->query("\\echo end") =~ /(\d+)\s*end/;
	cmp_ok($changes, '>=', 1, "$name: changed during the search");
	is($gone, 'f', "$name: not deleted");
	is($t->files(prefix => "/$file"), "/$file", "$name: the file is there");
	return;
}
