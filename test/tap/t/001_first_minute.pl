# The promise of README's first page: rows are deleted as ever, and exactly their images leave ImageKit, at commit.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# DELETE ----------------------------------------------------------------------------------------------------------------

my ($cat_id) = $imagekit->seed('/pets/cat.jpg');
$imagekit->seed('/pets/dog.jpg', '/bird.png', '/schema.png', '/other/cat.jpg', '/stays.jpg', '/pets/cat.jpg.bak');
$t->sql(qq{
	INSERT INTO patches VALUES
	(42, '{$ENDPOINT/pets/cat.jpg,$ENDPOINT/pets/dog.jpg?updatedAt=1,$ENDPOINT/tr:w-100/bird.png}',
	 '{"imageUrl": "$ENDPOINT/schema.png", "title": "no URL"}'),
	(43, '{$ENDPOINT/stays.jpg}', NULL)});

my $session = $t->node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe('DELETE FROM patches WHERE id = 42');
stays { join ' ', $imagekit->requests } '', 'an open transaction asks ImageKit for nothing';
is($t->pending, 0, 'and nobody else sees its work');
$session->query_safe('COMMIT');
$session->quit;

eventually { $t->files } '/other/cat.jpg /pets/cat.jpg.bak /stays.jpg',
  'the commit deletes the four images of the row, and none of like names';
eventually { $t->pending } 0, 'nothing is left in the queue';
is($t->history, 'deleted bird.png, deleted cat.jpg, deleted dog.jpg?updatedAt=1, deleted schema.png',
	'the history has each of them once');
is($t->sql(q{SELECT DISTINCT server, relation FROM imagekit.history}), 'acme|public.patches',
	'and says which account and which table');
is(join(' ', $imagekit->requests), 'GET /v1/files POST /v1/files/batch/deleteByFileIds', 'one search and one delete by fileIds were sent for all');

# UPDATE ----------------------------------------------------------------------------------------------------------------

$t->insert(50, 'keep.jpg', 'drop.jpg');
$t->sql("UPDATE patches SET images = ARRAY['$ENDPOINT/keep.jpg'] WHERE id = 50");
eventually { $t->files(prefix => '/drop') } '', 'an UPDATE that takes an image out of a row deletes it';
like($t->files, qr{/keep\.jpg}, 'and not the image that stays in the row');

$t->sql("UPDATE patches SET images = ARRAY['$ENDPOINT/keep.jpg?updatedAt=1700000000'] WHERE id = 50");
$t->sql("UPDATE patches SET images = ARRAY['$ENDPOINT/tr:w-9/keep.jpg'] WHERE id = 50");
$t->sql(qq{UPDATE patches SET images = NULL, schema = '{"imageUrl": "$ENDPOINT/keep.jpg"}' WHERE id = 50});
# The history too: the drain would keep a file that is still used, and hide that it was queued.
is($t->sql(q{SELECT count(*) FROM (SELECT url FROM imagekit.pending UNION ALL SELECT url FROM imagekit.history) q WHERE url ~ 'keep\.jpg'}), 0,
	'another ?updatedAt, a transformation or another column of the row is no removal');

# Shared ----------------------------------------------------------------------------------------------------------------

$t->insert(60, 'shared.jpg');
$t->sql("INSERT INTO modules VALUES (1, '{$ENDPOINT/tr:h-5/shared.jpg?updatedAt=7}')");
$t->sql('DELETE FROM patches WHERE id = 60');
eventually { $t->sql("SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%/shared.jpg'") } qr/^kept\|still used by .*modules/,
  'an image that another table uses under another spelling is kept';
$t->sql('DELETE FROM modules');
eventually { $t->files(prefix => '/shared') } '', 'and deleted when its last user goes';

# The server log --------------------------------------------------------------------------------------------------------

# The line of the file before is written when ImageKit has answered, a moment after the file has gone.
wait_for { $t->pending == 0 } 'all so far is settled';
$t->mark_log;
$imagekit->seed('/x/elsewhere.jpg');
# The switch lets a search find the name in every folder: what an API that ignored the path parameter would do.
$imagekit->switch(search_path_parameter => 'ignored');
$imagekit->fault(kind => 'text_500', contains => 'broken.jpg', count => 1);
my ($log_id) = $imagekit->seed('/a/logged name.jpg');
$imagekit->seed('/broken.jpg');
$t->sql(qq{
	INSERT INTO patches VALUES (70, '{$ENDPOINT/a/logged%20name.jpg,$ENDPOINT/gone.jpg,$ENDPOINT/y/elsewhere.jpg}');
	DELETE FROM patches WHERE id = 70});
wait_for { $t->pending == 0 } 'those that ImageKit answers';
$t->sql("INSERT INTO patches VALUES (71, '{$ENDPOINT/broken.jpg}'); DELETE FROM patches WHERE id = 71");
eventually { $t->files(prefix => '/broken') . $t->pending } '0', 'the queue is empty after one error';
my @lines = sort $t->log_lines(qr/ImageKit/);
my @expected = (
	qr{^LOG:  File already deleted or not found on ImageKit: \Q$ENDPOINT\E/gone\.jpg$},
	qr{^LOG:  Successfully deleted ImageKit file: broken\.jpg fileId: [0-9a-f]+$},
	qr{^LOG:  Successfully deleted ImageKit file: logged name\.jpg fileId: \Q$log_id\E$},
	qr{^WARNING:  Could not find file to delete on ImageKit: \Q$ENDPOINT\E/y/elsewhere\.jpg$},
	qr{^WARNING:  Error deleting ImageKit file: \Q$ENDPOINT\E/broken\.jpg HTTP 500.*});
like($lines[$_], $expected[$_], 'log, word for word: ' . ('already gone', 'deleted', 'deleted, with fileId', 'could not find', 'error')[$_])
  for 0 .. $#expected;
is(@lines, @expected, 'and no line more') or diag join("\n", @lines);
like($t->files, qr{/x/elsewhere\.jpg}, 'a file of the same name in another folder is not deleted');

done_testing();
