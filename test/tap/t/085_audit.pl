# The audit: what a library has, beside what rows use. Truth is the emulator's library and the tables themselves.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $node = $t->node;

sub audit { my (@arguments) = @_; return $t->messages('CALL imagekit.audit(' . join(', ', @arguments) . ')'); }
sub orphans { return $t->sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans}); }
sub doubtful { return $t->sql(q{SELECT string_agg(path || ': ' || why, E'\n' ORDER BY path) FROM imagekit.doubtful}); }
sub dangling { return $t->sql(q{SELECT string_agg(relation || ' ' || row_key || ' ' || source || ' ' || path, E'\n' ORDER BY path, row_key) FROM imagekit.dangling}); }

my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');
sub seed { $imagekit->seed(map { { filePath => $_, size => 1000, @old } } @_); return; }

# Before anything ---------------------------------------------------------------------------------------------------------

is(orphans(), '', 'without an audit there are no orphans');
like($t->messages('BEGIN; CALL imagekit.audit(); ROLLBACK'), qr/cannot run inside a transaction block/, 'not in a transaction block');
like(audit(q{'nobody'}), qr/server "nobody" does not exist/, 'nor for a server that is not there');

# A messy library ---------------------------------------------------------------------------------------------------------

seed('/used.jpg', '/pets/used.jpg', '/json.jpg', '/orphan.jpg', '/pets/orphan two.jpg', "/pets/\x{e9}t\x{e9}.jpg", '/transformed.jpg',
	'/uncertain.jpg', '/foreign.jpg', '/queued.jpg', '/protected/logo.png', '/shared.jpg');
$t->sql(qq{
	ALTER SERVER acme OPTIONS (ADD protect '/protected/*');
	ALTER TABLE patches ADD owner_id int;
	SELECT imagekit.watch('patches', '{images, schema.imageUrl}', owner => 'owner_id');
	INSERT INTO patches (id, images, schema, owner_id) VALUES
	  (1, '{$ENDPOINT/used.jpg, $ENDPOINT/pets/used.jpg?v=1}', NULL, 7),
	  (2, NULL, '{"imageUrl": "$ENDPOINT/json.jpg"}', 7),
	  (3, '{$ENDPOINT/tr:w-100/transformed.jpg}', NULL, 8),
	  (4, '{$ENDPOINT/missing.jpg, $ENDPOINT/shared.jpg}', NULL, 8),
	  (5, '{$ENDPOINT/shared.jpg}', NULL, 9),
	  (6, '{"$ENDPOINT/uncertain.jpg and more", https://cdn.example.com/foreign.jpg}', NULL, NULL);
	SELECT imagekit.pause('acme', 'for the test')});
like(audit(), qr/WARNING:  audit of server "acme" is not complete: .*paused by/s, 'a paused account is not asked');
is(scalar($imagekit->journal), 0, 'not once');
$t->sql(q{SELECT imagekit.resume()});
$t->sql(qq{ALTER SERVER acme OPTIONS (ADD grace_period '1 hour'); INSERT INTO modules VALUES (1, '{$ENDPOINT/queued.jpg}'); DELETE FROM modules});

my $said = audit();
like($said, qr/NOTICE:  imagekit_cleanup: audit of server "acme": 12 files \(12 kB\), 3 orphans \(3000 bytes\), 2 in doubt, 1 URLs without a file/,
	'an audit says what came of it') or diag $said;
is(orphans(), "/orphan.jpg /pets/orphan two.jpg /pets/\xc3\xa9t\xc3\xa9.jpg", 'what no row uses is orphaned');
is($t->sql(q{SELECT url FROM imagekit.orphans WHERE path LIKE '%two%'}), "$ENDPOINT/pets/orphan%20two.jpg", 'with its URL');
is($t->sql(q{SELECT size, created_at = '2024-05-01 10:00 UTC', why ~ '^no row of the watched tables used it when they were read at ' FROM imagekit.orphans WHERE path = '/orphan.jpg'}),
	'1000|t|t', 'its size, its age and why');
is(doubtful(), "/foreign.jpg: a URL in public.patches under a prefix that no account has would mean it: is a prefix missing in url_aliases?\n"
	  . '/uncertain.jpg: a URL in public.patches cannot be read with certainty, and may mean it', 'what cannot be told is in doubt');
is(dangling(), 'patches 4 images /missing.jpg', 'and a URL without a file dangles');
cmp_ok(scalar(grep { ($_->{query}{sort} // '') eq 'ASC_CREATED' } $imagekit->journal), '>=', 2, 'the library was listed');
is($t->sql(q{SELECT state, files, bytes, orphans, orphan_bytes, doubtful, dangling, problem FROM imagekit.audits ORDER BY id DESC LIMIT 1}),
	'complete|12|12000|3|3000|2|1|', 'all of it is in the view of audits');

# Storage -----------------------------------------------------------------------------------------------------------------

is($t->sql(q{SELECT owner, files, bytes, part_bytes, shared_files, shared_bytes, percent FROM imagekit.storage_by_owner ORDER BY owner}),
	"7|3|3000|3000|0|0|25.00\n8|2|2000|1500|1|1000|12.50\n9|1|1000|500|1|1000|4.17", 'storage by owner, what is shared divided');
is($t->sql(q{SELECT relation, files, bytes, pending_files FROM imagekit.storage_by_table ORDER BY relation}), 'public.patches|5|5000|0', 'by table');
is($t->sql(q{SELECT folder, files, orphan_files, orphan_bytes FROM imagekit.storage_by_folder ORDER BY folder}),
	"/|8|1|1000\n/pets|3|2|2000\n/protected|1|0|0", 'by folder');
is($t->sql(q{SELECT files, bytes, used_bytes, orphan_files, orphan_bytes, doubtful_files, pending_files, counted_bytes, unattributed_bytes FROM imagekit.storage}),
	'12|12000|6000|3|3000|2|1|12000|0', 'and as a whole, beside ImageKit\'s own count');

# What was theirs at the audit before and waits to be deleted. Sizes of which no two sums are alike.
$imagekit->seed(map { { filePath => "/sizes/$_.jpg", size => 100 * 2**$_, @old } } 1 .. 6);
sub images { return join(', ', map { "$ENDPOINT/sizes/$_.jpg" } @_); }
$t->sql("INSERT INTO patches VALUES (11, '{@{[ images(1, 2, 3) ]}}', NULL, 11), (12, '{@{[ images(3, 4) ]}}', NULL, 12); INSERT INTO modules VALUES (11, '{@{[ images(4, 5, 6) ]}}')");
audit();
my $where = q{WHERE name::text IN ('public.patches', 'public.modules', '11', '12')};
sub by { my ($what, $view) = @_; return $t->sql("SELECT name, files, bytes, part_bytes, shared_files, shared_bytes, pending_files, pending_bytes FROM (SELECT $what AS name, * FROM imagekit.$view) v $where ORDER BY name"); }
is(by('owner', 'storage_by_owner'), "11|3|1400|1000|1|800|0|0\n12|2|2400|2000|1|800|0|0", 'owners that share a file');
is(by('relation', 'storage_by_table'), "public.modules|3|11200|10400|1|1600|0|0\npublic.patches|9|8000|7200|1|1600|0|0", 'and tables that do');
# The first and the third file of owner 11, of which owner 12 uses the third; two of a table.
$t->sql(qq{UPDATE patches SET images = '{@{[ images(2) ]}}' WHERE id = 11; UPDATE modules SET images = '{@{[ images(4) ]}}' WHERE id = 11});
audit();
is(by('owner', 'storage_by_owner'), "11|1|400|400|0|0|1|200\n12|2|2400|2400|0|0|0|0", 'what waits is the owner\'s that had it, as long as nobody else uses it');
is(by('relation', 'storage_by_table'), "public.modules|1|1600|800|1|1600|2|9600\npublic.patches|8|7800|7000|1|1600|1|200", 'and the table\'s');
is($t->sql('SELECT pending_files, pending_bytes FROM imagekit.storage'), '4|10800', 'as a whole, with what waited before');
my $read = $t->sql('SELECT compared_at FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1');
is($t->sql("SELECT DISTINCT as_of FROM (SELECT as_of FROM imagekit.$_) v"), $read, "$_: as of when the tables were read") for qw(storage storage_by_owner storage_by_table storage_by_folder);
cmp_ok($t->sql("SELECT extract(epoch FROM clock_timestamp() - '$read')"), '<', 60, 'a moment ago');

# How far it is -----------------------------------------------------------------------------------------------------------

is($t->sql('SELECT count(*), count(percent) FROM imagekit.audits'), '3|0', 'of what is over there is no share');
$imagekit->seed_many(count => 2500, prefix => '/many', size => 10, createdAt => '2024-06-01T00:00:00.000Z', step_ms => 1000);
my $before = $imagekit->count;
audit();
$imagekit->forget;
# Ten seconds are too long to say nothing.
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', ms => 10_100);
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED');
my $audit = ImageKit::AuditCall->start($t, arguments => 'NULL, true');
wait_for { $imagekit->pages > 1 && $imagekit->stalled } 'the second page is asked for', 30;
my ($page) = $imagekit->pages;
my $listed = $page->{query}{limit};
is($t->sql('SELECT state, files, percent FROM imagekit.audits ORDER BY id DESC LIMIT 1'), "listing|$listed|" . int(100 * $listed / $before), 'one that is under way: how many files it has listed, and what share of the last one\'s');
$imagekit->release;
$imagekit->no_faults;
is(() = $audit->said =~ /NOTICE:  imagekit_cleanup: audit of server "acme": listing the library, so far $listed files\n/g, 1, 'who waits for it is told, once in ten seconds') or diag $audit->said;
is($t->sql('SELECT count(*), count(percent) FROM imagekit.audits'), '5|0', 'until it is over');

done_testing();
