# Orphans that something else may use: a column that is not watched, under the prefix of another account; an account whose key has
# changed since its library was known to be another; and reasons that came after an operator has approved.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { timezone => 'UTC' });
my $imagekit = $t->imagekit;

my %old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');
sub seed { return $imagekit->seed(map { { filePath => $_, size => 1000, %old } } @_); }
sub audit { my ($server) = @_; $server //= 'acme'; like($t->messages("CALL imagekit.audit('$server')"), qr/NOTICE:  imagekit_cleanup: audit/, "audit of $server"); return; }
sub audits { audit() for 1 .. 2; $t->sql('CALL imagekit.search_unwatched()'); return; }
my $loose = q{apart => '0', max_fraction => 1};
sub rows { my ($arguments) = @_; return $t->sql("SELECT * FROM imagekit.delete_orphans('acme', $arguments)"); }
sub refusals { return join "\n", map { /^refused\|\|\|(.*)/ ? $1 : () } split /\n/, rows($_[0] // $loose); }
sub orphans { return $t->sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans WHERE server = 'acme'}); }
sub doubt { my ($path) = @_; return $t->sql("SELECT why FROM imagekit.doubtful WHERE server = 'acme' AND path = '$path'"); }
sub second
{
	my ($key) = @_;
	$t->sql(qq{CREATE SERVER second FOREIGN DATA WRAPPER imagekit
		OPTIONS (url_endpoint 'https://img.acme.example', url_aliases 'https://ik.imagekit.io/lb', api_url '@{[ $imagekit->url ]}')});
	$t->sql("CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key '$key')") if $key;
	return;
}

seed((map { "/used/$_.jpg" } 1 .. 20), '/cat.jpg');
$t->sql("INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/used/' || i || '.jpg'] FROM generate_series(1, 20) i");
$imagekit->accounts(account => 'lb', keys => ['private_lb'], url_endpoints => ['lb']);
$imagekit->seed({ account => 'lb', filePath => '/theirs.jpg', size => 1, %old });

# A column that is not watched, under another account's prefix -----------------------------------------------------------------

second();
$t->sql(q{CREATE TABLE letters (body text); INSERT INTO letters VALUES ('see https://img.acme.example/cat.jpg')});
audits();
is(orphans(), '/cat.jpg', 'an orphan by the watched tables');
like(refusals(), qr/^column body of table public\.letters: not watched; found in 1 row, such as https:\/\/img\.acme\.example\/cat\.jpg\./m, 'an account of which nothing is known may have the same library');
$t->sql(q{CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key 'private_lb')});
audit('second');
is(refusals(), '', 'one with another library has not');
$t->sql(q{DROP TABLE letters});

# Known to have another library, by a key that it no longer has ------------------------------------------------------------------

$t->sql(q{INSERT INTO modules VALUES (1, '{https://img.acme.example/cat.jpg}')});
audit();
is(orphans(), '/cat.jpg', 'what a row uses of another library');
$imagekit->accounts(account => 'acme', keys => [ $KEY, 'private_second' ], url_endpoints => ['acme']);
for my $change (q{ALTER USER MAPPING FOR PUBLIC SERVER second OPTIONS (SET private_key 'private_second')}, q{DROP USER MAPPING FOR PUBLIC SERVER second})
{
	$t->sql($change);
	audit();
	is(orphans(), '', "$change: it may be this one now");
	like(doubt('/cat.jpg'), qr/^a row uses a file at this path under the prefix of account "second"/, 'which is said');
}
$t->sql(q{DELETE FROM modules; DROP SERVER second CASCADE});

# Many small folders ------------------------------------------------------------------------------------------------------------

seed(map { my $month = $_; map { "/mailing/2023-$month/$_.jpg" } 1 .. 4 } 1 .. 3);
audits();
is(refusals(), 'folder /mailing would be emptied: all of its 12 files, with those in folders below it, are orphans. Does something else use it, a mailing, an app, a style sheet?',
	'a folder is emptied by what is below it as well, and said once');
seed('/mailing/2024/kept.jpg');
$t->sql("INSERT INTO modules VALUES (2, '{$ENDPOINT/mailing/2024/kept.jpg}')");
audits();
is(refusals(), '', 'but not while something in it is used');
$t->sql('DELETE FROM modules WHERE id = 2');
eventually { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE server = 'acme'}) } '0', 'it is deleted';
audits();

# A name is of the reasons as well ----------------------------------------------------------------------------------------------

my ($name) = rows($loose) =~ /approve => '([0-9a-f]{32})'/;
like(rows("$loose, approve => '$name'"), qr/^approved\|\|\|folder \/mailing/m, 'one reason is approved');
$t->sql(qq{INSERT INTO modules SELECT 3, array_agg('$ENDPOINT/used/' || i || '.jpg') FROM generate_series(1, 15) i});
audits();
$t->sql('SET session_replication_role = replica; DELETE FROM modules');
audits();
like(refusals(), qr/^table public\.modules used 15 files/m, 'there is another');
like($t->messages("SELECT * FROM imagekit.delete_orphans('acme', $loose, approve => '$name')"), qr/ERROR:  the candidates, or what stands against them, are not what approve names/, 'which was not approved');
my ($both) = rows($loose) =~ /approve => '([0-9a-f]{32})'/;
is(scalar(() = rows("$loose, approve => '$both'") =~ /^approved/gm), 2, 'until it is');

# An account of the files that a listing may lack -------------------------------------------------------------------------------

seed(map { "/passing/$_.jpg" } 1 .. 40);
$t->sql("INSERT INTO modules SELECT 100 + i, ARRAY['$ENDPOINT/passing/' || i || '.jpg'] FROM generate_series(1, 40) i; DELETE FROM modules");
eventually { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE server = 'acme'}) } '0', 'files come and go between two audits';
$imagekit->remove(map { "/used/$_.jpg" } 3 .. 20);
$imagekit->remove('/cat.jpg', map { my $month = $_; map { "/mailing/2023-$month/$_.jpg" } 1 .. 4 } 1 .. 3);
like($t->messages(q{CALL imagekit.audit('acme')}), qr/ImageKit lists 2 files, at the last complete audit there were 33: see whether the library is whole/, 'do not excuse a listing that lacks what was listed before');

done_testing();
