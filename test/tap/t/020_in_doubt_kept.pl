# In doubt a file stays: uses that cannot be read with certainty, rows that are not committed yet, rows that come back while
# deletes are waiting for their turn; and nobody's code runs with the worker's rights.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
$t->sql(q{CREATE TABLE texts (id int, body text); SELECT imagekit.watch('texts', '{body}')});

# Doubtful uses -----------------------------------------------------------------------------------------------------------

my %uses = (
	'amp&x.jpg' => [ "$ENDPOINT/amp%26x.jpg", qq{<img src="$ENDPOINT/amp&amp;x.jpg">} ],
	'sp.jpg' => [ "$ENDPOINT/sp.jpg", "$ENDPOINT/sp.jpg is our logo" ],
	'ver.jpg' => [ "$ENDPOINT/ver.jpg", "$ENDPOINT/ver.jpg?ik-obj-version=abc" ],
	'nbsp.jpg' => [ "$ENDPOINT/nbsp.jpg", "See $ENDPOINT/nbsp.jpg\xc2\xa0and more" ],
	'stop.jpg' => [ "$ENDPOINT/stop.jpg", "$ENDPOINT/stop.jpg\xe3\x80\x82" ],
	'newline.jpg' => [ "$ENDPOINT/newline.jpg", "See $ENDPOINT/newline.jpg\\nNext line" ],
	'marked.jpg' => [ "$ENDPOINT/marked.jpg", "$ENDPOINT/marked.jpg!" ],
	'logo.png' => [ "$ENDPOINT/logos/logo.png", "$ENDPOINT/other.jpg?tr=l-image,i-logos\@\@logo.png,l-end" ],
	'3fk2q9' => [ "$ENDPOINT/3fk2q9", "See $ENDPOINT/3fk2q9\xe3\x80\x82next" ],
	'esc.jpg' => [ "$ENDPOINT/esc.jpg", 'https://ik.imagekit.io/acm%65/esc.jpg' ]);
my $id = 0;
for my $name (sort keys %uses)
{
	my ($url, $use) = @{ $uses{$name} };
	$imagekit->seed($url =~ m{/logos/} ? "/logos/$name" : "/$name");
	$id++;
	$t->sql("INSERT INTO texts VALUES ($id, \$\$$use\$\$); INSERT INTO patches VALUES ($id, ARRAY['$url']); DELETE FROM patches WHERE id = $id");
	eventually { $t->sql("SELECT outcome, detail FROM imagekit.history ORDER BY id DESC LIMIT 1") } qr/^kept\|perhaps still used by public\.texts/,
	  "kept for a doubtful use: $use";
}
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome <> 'kept'}), 0, 'none of them is deleted');

# Two readings of a use.
$t->sql(qq{ALTER SERVER acme OPTIONS (ADD url_aliases '$ENDPOINT/shop')});
$imagekit->seed('/shop/two.jpg');
$t->sql("INSERT INTO texts VALUES (20, '$ENDPOINT/shop/two.jpg'); INSERT INTO patches VALUES (20, '{$ENDPOINT/shop/shop/two.jpg}'); DELETE FROM patches WHERE id = 20");
eventually { $t->pending } 0, 'settled';
like($t->files, qr{/shop/two\.jpg}, 'a use that can be read as this file keeps it');
$t->sql('ALTER SERVER acme OPTIONS (DROP url_aliases)');

# Not committed yet -------------------------------------------------------------------------------------------------------

$t->insert(30, 'open.jpg');
my $session = $t->node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe("INSERT INTO modules VALUES (30, '{$ENDPOINT/open.jpg}')");
$t->sql('DELETE FROM patches WHERE id = 30');
eventually { $t->sql("SELECT state, last_error FROM imagekit.pending WHERE url LIKE '%open.jpg'") }
  qr/^(?:waiting|retrying)\|waits: a row of public\.modules that is not committed yet uses it, source images$/,
  'a row that another transaction has inserted and not committed keeps the file waiting';
stays { $t->files(prefix => '/open') } '/open.jpg', 'as long as that is open', 1;
$session->query_safe('COMMIT');
eventually { $t->sql("SELECT outcome FROM imagekit.history WHERE url LIKE '%open.jpg'") } 'kept', 'and is kept once it is committed';

$t->insert(32, 'rolled.jpg');
$session->query_safe('BEGIN');
$session->query_safe("INSERT INTO modules VALUES (32, '{$ENDPOINT/rolled.jpg}'); DELETE FROM modules WHERE id = 32");
$t->sql('DELETE FROM patches WHERE id = 32');
eventually { $t->sql("SELECT last_error FROM imagekit.pending WHERE url LIKE '%rolled.jpg'") } qr/not committed yet/,
  'the same for one that is inserted and gone again';
eventually { $t->sql("SELECT attempts FROM imagekit.pending WHERE url LIKE '%rolled.jpg'") } 0, 'no attempt is counted';
$session->query_safe('ROLLBACK');
eventually { $t->files(prefix => '/rolled') } '', 'rolled back, it does not keep the file for ever';

$t->insert(31, 'snapshot.jpg');
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$session->query_safe('SELECT count(*) FROM modules');
$t->sql("INSERT INTO modules VALUES (31, '{$ENDPOINT/snapshot.jpg}'); UPDATE patches SET images = NULL WHERE id = 31");
eventually { $t->pending } 0, 'settled';
is($session->query("SELECT imagekit.delete_file('$ENDPOINT/snapshot.jpg')"), 'f', 'delete_file() sees rows newer than its snapshot');
$session->{stderr} = '';  # the WARNING: some versions of the harness leave it to the next query, and wait in vain
$session->query_safe('ROLLBACK');
$session->quit;

# While deletes wait for their turn ---------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (SET write_rate '0.8', SET write_burst '1')});
$t->insert(40, map { "slow$_.jpg" } 1 .. 4);
$t->sql('DELETE FROM patches WHERE id = 40');
wait_for { $imagekit->count(prefix => '/slow') < 4 } 'the first is deleted';
$t->sql("INSERT INTO patches SELECT 40, array_agg('$ENDPOINT/slow' || n || '.jpg') FROM generate_series(1, 4) n");
my $left = $imagekit->count(prefix => '/slow');
eventually { $t->pending } 0, 'the rest is settled';
cmp_ok($imagekit->count(prefix => '/slow'), '>=', $left - 1, 'a row that comes back while deletes wait keeps what was not sent yet');

$t->sql(q{UPDATE patches SET images = NULL WHERE id = 40});
my $before = $imagekit->count(prefix => '/slow');
$t->sql('SELECT imagekit.disable()');
stays { $imagekit->count(prefix => '/slow') >= $before - 1 ? 'kept' : 'deleted' } 'kept', 'disable() stops a round that is under way', 3;
$t->sql('SELECT imagekit.enable()');
$t->sql(q{ALTER SERVER acme OPTIONS (SET write_rate '1000', SET write_burst '1000')});
eventually { $t->files(prefix => '/slow') } '', 'enable() finishes it';

# Whose rights ------------------------------------------------------------------------------------------------------------

$imagekit->seed('/index.jpg');
$t->sql(qq{
	CREATE ROLE mallory;
	GRANT USAGE ON SCHEMA imagekit TO mallory;
	GRANT EXECUTE ON FUNCTION imagekit.watch TO mallory;
	GRANT CREATE ON SCHEMA public TO mallory;
	SET ROLE mallory;
	CREATE FUNCTION really() RETURNS int LANGUAGE plpgsql AS \$\$
	BEGIN IF current_user <> 'mallory' THEN ALTER ROLE mallory SUPERUSER; END IF; RETURN 1; END \$\$;
	CREATE FUNCTION pure(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN RETURN public.really(); END \$\$;
	CREATE TABLE bait (id int, image text);
	CREATE INDEX ON bait ((id + public.pure(1)));
	SELECT imagekit.watch('bait', '{image}');
	INSERT INTO bait VALUES (1, '$ENDPOINT/index.jpg');
	DELETE FROM bait});
eventually { $t->files(prefix => '/index') } '', 'a table whose index calls its owner\'s function is searched';
is($t->sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', 'without running it');

like($t->messages('CREATE DATABASE squatted'), qr/^$/, 'a database');
$t->sql('CREATE SCHEMA imagekit AUTHORIZATION mallory', 'squatted');
like($t->messages('CREATE EXTENSION imagekit_cleanup', 'squatted'), qr/schema "imagekit" exists already and is not this extension's own/,
	'CREATE EXTENSION refuses a schema that somebody else owns');

# What an encoding lacks --------------------------------------------------------------------------------------------------

for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $db = lc $encoding;
	$t->sql("CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$t->prepare(db => $db);
	$imagekit->seed("/$db.jpg", "/$db-used.jpg");
	$t->sql(q{CREATE TABLE docs (id int, doc json); SELECT imagekit.watch('docs', '{doc}')}, $db);
	# json keeps the text as it was written, also what a text of this database could not hold.
	$t->sql(qq[INSERT INTO docs VALUES (1, '{"price": "5 \\u20ac", "url": "$ENDPOINT/$db.jpg"}'), (2, '{"price": "5 \\u20ac", "url": "$ENDPOINT/$db-used.jpg"}')], $db);
	is($t->messages(q{DELETE FROM docs WHERE id = 1}, $db), '', "$encoding: an escape that the encoding lacks does not fail the DELETE");
	eventually { $t->files(prefix => "/$db.jpg") } '', "$encoding: and its image goes";
	$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/$db-used.jpg}'); DELETE FROM patches", $db);
	eventually { $t->sql(q{SELECT outcome FROM imagekit.history ORDER BY id DESC LIMIT 1}, $db) } 'kept', "$encoding: such a document is a use like any other";
}

# Where a delete could not be recorded ------------------------------------------------------------------------------------

$imagekit->seed('/readonly.jpg');
like($t->messages("BEGIN READ ONLY; SELECT imagekit.delete_file('$ENDPOINT/readonly.jpg')"), qr/cannot execute imagekit\.delete_file\(\) in a read-only transaction/,
	'no delete in a read-only transaction');
like($t->files, qr{/readonly\.jpg}, 'the file is still there');

# What others set up ------------------------------------------------------------------------------------------------------

$t->sql('CREATE PUBLICATION everything FOR ALL TABLES');
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/readonly.jpg}')");
eventually { $t->files(prefix => '/readonly') } '', 'a publication FOR ALL TABLES does not stop the queue';

done_testing();
