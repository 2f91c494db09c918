# A server that cannot preload the library: all works but the worker, CALL imagekit.drain() does its work, and delete_file()
# works at once.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { shared_preload_libraries => undef });
my $imagekit = $t->imagekit;

like($t->messages('SELECT imagekit.enable()'),
	qr/WARNING:  no background worker: imagekit_cleanup is not in shared_preload_libraries.*HINT:  Add it to shared_preload_libraries/s,
	'enable() says that nobody will send, and what to do');
is($t->status, 'manual', 'so does status');

$t->insert(1, 'a.jpg', 'b.jpg', 'c.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
is($t->pending, 3, 'the images are queued');
is($t->files, '/a.jpg /b.jpg /c.jpg', 'and nothing is sent');
$t->sql('CALL imagekit.drain(1)');
is($t->sql('SELECT count(*) FROM imagekit.history'), 1, 'drain(1) does one');
$t->sql('CALL imagekit.drain()');
is($t->files, '', 'drain() does the rest');
is($t->sql(q{SELECT deleted = (SELECT count(*) FROM imagekit.history WHERE outcome = 'deleted'), requests >= 2, state, preloaded, launcher_running FROM imagekit.metrics}),
	't|t|manual|f|f', 'and counts');
is($t->history, 'deleted a.jpg, deleted b.jpg, deleted c.jpg', 'and settles it');
is($t->pending, 0, 'nothing is left');

like($t->messages('BEGIN; CALL imagekit.drain(); COMMIT'), qr/cannot run inside a transaction block.*HINT/s, 'not within a transaction');
like($t->messages('DO $$ BEGIN CALL imagekit.drain(); END $$'), qr/NOTICE:  imagekit_cleanup: nothing was due\z/, 'within a procedural block that may commit, it may');

# By hand -----------------------------------------------------------------------------------------------------------------

sub delete_file { my ($url) = @_; return $t->sql("SELECT imagekit.delete_file('$url')"); }

$imagekit->seed('/now.jpg', '/used.jpg', '/one.jpg', '/two.jpg');
is(delete_file("$ENDPOINT/now.jpg"), 't', 'delete_file() of a file: true');
is($t->files(prefix => '/now'), '', 'and it is gone when the call returns');
is(delete_file("$ENDPOINT/now.jpg"), 't', 'again: true, it is not there');

$t->sql("INSERT INTO modules VALUES (1, '{$ENDPOINT/tr:w-1/used.jpg}')");
for (
	[ "$ENDPOINT/used.jpg", qr/kept: still used by public\.modules/, 'a file in use' ],
	[ 'https://example.com/x.jpg', qr/failed: no account is configured for this URL/, 'a URL of nobody' ],
	[ "$ENDPOINT/a%2Fb.jpg", qr/failed: the URL cannot be read with certainty/, 'a URL that cannot be read' ])
{
	my ($url, $why, $what) = @$_;
	is(delete_file($url), 'f', "delete_file() of $what: false");
	like($t->messages("SELECT imagekit.delete_file('$url')"), qr/WARNING:  image was not deleted.*$why/s, 'with a WARNING that says why');
}
like($t->files, qr{/used\.jpg}, 'the file in use is still there');

is($t->sql("SELECT outcome, url, detail FROM imagekit.delete_files('{$ENDPOINT/one.jpg,$ENDPOINT/gone.jpg,$ENDPOINT/used.jpg,https://example.com/,$ENDPOINT/two.jpg?x=1}')"),
	join("\n",
		"deleted|$ENDPOINT/one.jpg|", "not_found|$ENDPOINT/gone.jpg|",
		"kept|$ENDPOINT/used.jpg|still used by public.modules, source images",
		'failed|https://example.com/|no account is configured for this URL: it is under no url_endpoint or url_aliases',
		"deleted|$ENDPOINT/two.jpg?x=1|"),
	'delete_files() tries all, and says of each what became of it');
$imagekit->seed('/bad.jpg', '/good.jpg');
$imagekit->switch(bulk_207_ids => ['/bad.jpg']);
is($t->sql("SELECT outcome, detail ~ 'Error in deleting tags' FROM imagekit.delete_files('{$ENDPOINT/bad.jpg,$ENDPOINT/good.jpg}')"),
	"failed|t\ndeleted|", 'one that fails does not stop the other');
$imagekit->switch(bulk_207_ids => []);

$imagekit->seed('/later.jpg', '/soon.jpg');
is($t->sql("SELECT imagekit.enqueue('{$ENDPOINT/soon.jpg}'), imagekit.enqueue('{$ENDPOINT/later.jpg}', '1 day')"), '1|1', 'enqueue()');
$t->sql('CALL imagekit.drain()');
like($t->files, qr{/later\.jpg}, 'what is delayed waits');
unlike($t->files, qr{/soon\.jpg}, 'what is due goes');

# Options of the account --------------------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (ADD protect '/logos/*, /brand/', ADD grace_period '1 day')});
$t->insert(7, 'logos/x.png', 'brand/deep/y.png', 'patient.jpg');
$t->sql('DELETE FROM patches WHERE id = 7; CALL imagekit.drain()');
like($t->files, qr{/patient\.jpg}, 'grace_period lets a file wait');
is($t->sql(q{SELECT outcome, detail FROM imagekit.delete_files('{} '::text[] || ARRAY['} . "$ENDPOINT/logos/x.png', '$ENDPOINT/brand/deep/y.png'])"),
	qq{skipped|protected by "/logos/*"\nskipped|protected by "/brand/"}, 'protected paths are never deleted');
$t->sql(q{ALTER SERVER acme OPTIONS (SET grace_period '0', ADD dry_run 'true')});
$t->sql(q{UPDATE imagekit.backlog SET due_at = now()});
$t->sql('CALL imagekit.drain()');
like($t->files, qr{/patient\.jpg}, 'dry_run deletes nothing');
is($t->sql(q{SELECT outcome, detail, file_id IS NOT NULL FROM imagekit.history WHERE url LIKE '%patient%'}),
	'skipped|dry run: it would have been deleted|t', 'and records what would have gone');

# Uploaded again ----------------------------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (DROP dry_run)});
$t->insert(8, 'reused.jpg');
$t->sql('DELETE FROM patches WHERE id = 8');
$imagekit->seed({ filePath => '/reused.jpg', updatedAt => '2099-01-01T00:00:00.000Z' });
$t->sql('CALL imagekit.drain()');
like($t->files, qr{/reused\.jpg}, 'a file uploaded again after the row went is not deleted');
like($t->sql(q{SELECT outcome, detail FROM imagekit.history WHERE url LIKE '%reused%'}), qr/^skipped\|newer upload/, 'and the history says why');

$t->sql(q{CREATE TABLE files (url text, file_id text); SELECT imagekit.watch('files', '{url:file_id}')});
$imagekit->seed('/theirs.jpg');
$t->sql("INSERT INTO files VALUES ('$ENDPOINT/theirs.jpg', '67c6d1a4432c4764160000ff'); DELETE FROM files; CALL imagekit.drain()");
like($t->files, qr{/theirs\.jpg}, 'a file whose fileId is not the one the row named is not deleted');

# Two readings of a URL ---------------------------------------------------------------------------------------------------

$t->sql(qq{ALTER SERVER acme OPTIONS (ADD url_aliases '$ENDPOINT/shop')});
$imagekit->seed('/x/y.jpg', '/shop/x/y.jpg');
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/shop/x/y.jpg}')");
$t->sql('CALL imagekit.drain()');
like($t->files, qr{/shop/x/y\.jpg.*/x/y\.jpg}, 'a URL that can mean two files of the library deletes neither');
like($t->sql(q{SELECT last_error FROM imagekit.pending WHERE state = 'failed'}), qr/^ambiguous/, 'and is parked for a person');

done_testing();
