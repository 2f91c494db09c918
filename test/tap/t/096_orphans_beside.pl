# What stands beside an audit's orphans: other accounts with keys of their own to the same library, calls that queue in slices, dry runs
# in open transactions, searches that are older than the audit. What a row uses stays, and no refusal can be got round.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(settings => { timezone => 'UTC' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql('CREATE EXTENSION citext');

my %old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');
sub seed { return $imagekit->seed(map { ref $_ ? { size => 1000, %$_ } : { filePath => $_, size => 1000, %old } } @_); }
sub audit { my ($server) = @_; $server //= 'acme'; like($t->messages("CALL imagekit.audit('$server')"), qr/NOTICE:  imagekit_cleanup: audit/, "audit of $server"); return; }
sub rows { my ($arguments) = @_; return $t->sql("SELECT * FROM imagekit.delete_orphans('acme', $arguments)"); }
sub refusals { return join "\n", map { /^refused\|\|\|(.*)/ ? $1 : () } split /\n/, rows($_[0]); }
sub orphans { return $t->sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans WHERE server = 'acme'}); }
sub doubt { my ($path) = @_; return $t->sql("SELECT why FROM imagekit.doubtful WHERE server = 'acme' AND path = '$path'"); }

# Another account, another key, the same library ---------------------------------------------------------------------------

seed((map { "/used/$_.jpg" } 1 .. 40), '/cdn.jpg', '/both.jpg');
$t->sql("INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/used/' || i || '.jpg'] FROM generate_series(1, 40) i");
my $create = sub {
	my ($server, $host, $key) = @_;
	$t->sql(qq{CREATE SERVER $server FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://$host', api_url '@{[ $imagekit->url ]}', read_rate '1000', read_burst '1000');
		CREATE USER MAPPING FOR PUBLIC SERVER $server OPTIONS (private_key '$key')});
};
$imagekit->accounts(account => 'acme', keys => [ $KEY, 'private_second' ], url_endpoints => ['acme']);
$create->('cdn', 'img.example.com', 'private_second');
$t->sql(q{INSERT INTO modules VALUES (1, '{https://img.example.com/cdn.jpg}')});
audit();
is(orphans(), '/both.jpg', 'what a row uses under the prefix of another account, of which nothing is known, is no orphan');
is(doubt('/cdn.jpg'), q{a row uses a file at this path under the prefix of account "cdn": is it the same library? CALL imagekit.audit('cdn') tells}, 'but in doubt');
like($t->messages(q{CALL imagekit.audit('cdn')}), qr/WARNING:  audit of server "cdn" is not complete/, 'whose audit finds that its key opens another library');
audit();
isnt(doubt('/cdn.jpg'), '', 'it stays in doubt');
# A library of its own, with a file of the same name.
$imagekit->accounts(account => 'elsewhere', keys => ['private_elsewhere'], url_endpoints => ['elsewhere']);
$create->('elsewhere', 'ik.imagekit.io/elsewhere', 'private_elsewhere');
$t->sql(q{INSERT INTO modules VALUES (2, '{https://ik.imagekit.io/elsewhere/both.jpg}')});
audit();
like(doubt('/both.jpg'), qr/under the prefix of account "elsewhere"/, 'a file of the same name of another account');
$imagekit->seed({ account => 'elsewhere', filePath => '/both.jpg', %old });
audit('elsewhere');
audit();
is(orphans(), '/both.jpg', 'is no doubt once that is known to have another library');
$t->sql(q{DELETE FROM modules; DROP SERVER cdn CASCADE; DROP SERVER elsewhere CASCADE});

# In slices -----------------------------------------------------------------------------------------------------------------

seed(map { { filePath => "/mail/$_.jpg", createdAt => sprintf('2024-05-%02dT10:00:00.000Z', $_), updatedAt => sprintf('2024-05-%02dT10:00:00.000Z', $_) } } 1 .. 12);
audit();
audit();
like(refusals(q{apart => '0'}), qr/^not searched|never searched/m, 'a search there must be');
$t->sql('CALL imagekit.search_unwatched()');
my $whole = refusals(q{apart => '0'});
like($whole, qr/14 of 54 files are 25\.9 % of the library/, 'all at once they are too many');
like($whole, qr/folder \/mail would be emptied: all of its 12 files/, 'and all of a folder');
my $half = q{apart => '0', older_than => now() - '2024-05-06 12:00Z', max_fraction => 0.15, dry_run => false};
$t->sql(q{SELECT imagekit.pause('acme')});
like(rows($half), qr/^queued\|8\|/, 'a first slice');
my $rest = refusals(q{apart => '0', max_fraction => 0.15, max_files => 10});
like($rest, qr/^14 of 54 files \(8 were queued by earlier calls since the last audit\) are 25\.9 % of the library/m, 'the second counts with it');
like($rest, qr/^14 files \(8 were queued by earlier calls since the last audit\) are more than max_files \(10\)/m, 'by number');
like($rest, qr/^folder \/mail would be emptied: all of its 12 files/m, 'and by folder');
like(rows(q{apart => '0'}), qr/^left: queued already\|8\|8000\|by earlier calls/m, 'what is queued is told');
is($t->sql(q{SELECT count(*), count(queued_at) FROM imagekit.orphans}), '14|8', 'and shown');

# What is deleted is not offered again.
$t->sql(q{SELECT imagekit.resume('acme')});
eventually { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE origin = 'A' AND outcome = 'deleted'}) } '8', 'they are deleted';
like(rows(q{apart => '0', max_fraction => 1}), qr/^would be queued\|6\|6000\|/, 'what is deleted is not offered again');
audit();
is($t->sql(q{SELECT count(*), count(queued_at) FROM imagekit.orphans}), '6|0', 'and the next audit knows nothing of it');

# Intervals -----------------------------------------------------------------------------------------------------------------

seed({ filePath => '/young.jpg', createdAt => '2024-05-01T10:00:00.000Z' });
for my $odd (q{'-12 mons +361 days'}, q{'-1 day'}, q{'1 mon -32 days'})
{
	like($t->messages("SELECT * FROM imagekit.delete_orphans(older_than => $odd)"), qr/older_than must be at least a day/, "older_than => $odd");
}

# A search, and what was written since --------------------------------------------------------------------------------------

$t->sql('CREATE TABLE letters (body text); CALL imagekit.search_unwatched()');
is(refusals(q{apart => '0', max_fraction => 1}) =~ /search/ ? 'refuses' : '', '', 'after a search');
$t->sql("INSERT INTO letters VALUES ('$ENDPOINT/mail/12.jpg')");
audit();
like(refusals(q{apart => '0', max_fraction => 1}), qr/^not searched for URLs since the last audit: .*letters.*\. Run CALL imagekit\.search_unwatched\(\);$/m, 'but not after another audit');
$t->sql('CALL imagekit.search_unwatched()');
like(refusals(q{apart => '0', max_fraction => 1}), qr/column body of table public\.letters: not watched/, 'and it finds what was written meanwhile');
$t->sql('DROP TABLE letters');

# Columns that name files without a URL: the endpoint is put in front by the application -------------------------------------

my $id = $t->sql(q{SELECT file_id FROM imagekit.orphans WHERE path = '/mail/9.jpg'});
$t->sql(qq{
	CREATE TABLE people (id int, avatar text, data jsonb, upload text, note citext, number int);
	INSERT INTO people VALUES (1, '/mail/12.jpg', '{"images": ["x", "mail/11.jpg?tr=w-100"]}', '$id', ' /mail/10%2Ejpg ', 1), (2, 'mail/12', '{}', 'x', 'mail/', 2);
	INSERT INTO patches VALUES (7001, '{/mail/12.jpg}');
	CALL imagekit.search_unwatched()});
my $alone = 'names orphans by path or fileId alone%s, which no check takes for a use: add their folder to the option protect, or waive the column; found in 1 row';
my $refused = refusals(q{apart => '0', max_fraction => 1});
for my $of ([ 'people.avatar', '', '/mail/12.jpg' ], [ 'people.data', ' (at images[*])', 'mail/11.jpg?tr=w-100' ], [ 'people.upload', '', $id ], [ 'people.note', '', ' /mail/10%2Ejpg ' ], [ 'patches.images', '', '/mail/12.jpg' ])
{
	my ($where, $at, $example) = @$of;
	my ($table, $column) = split /\./, $where;
	my $expected = sprintf "column %s of table public.%s: $alone, such as %s. Run SELECT imagekit.waive('public.%s', '%s', reason => '');", $column, $table, $at, $example, $table, $column;
	is(join("\n", grep { /^column $column of table public\.$table:/ } split /\n/, $refused), $expected, "$where");
}
is($t->sql(q{SELECT string_agg(relation || '.' || "column" || ' ' || rows_with_urls, ', ' ORDER BY relation::text, "column") FROM imagekit.find_unwatched()}),
	'patches.images 1, people.avatar 1, people.data 1, people.note 1, people.upload 1', 'find_unwatched() finds the same');
# One that holds URLs as well is to be watched first.
$t->sql(qq{UPDATE people SET avatar = '$ENDPOINT/used/1.jpg' WHERE id = 2; CALL imagekit.search_unwatched()});
like(refusals(q{apart => '0', max_fraction => 1}), qr/^column avatar of table public\.people: not watched; names orphans by path.* Run SELECT imagekit\.watch\('public\.people', '\{avatar\}'\);$/m, 'a column of both kinds is to be watched');
$t->sql(q{DELETE FROM patches WHERE id = 7001; ALTER SERVER acme OPTIONS (ADD protect '/mail/*'); CALL imagekit.search_unwatched()});
unlike(refusals(q{apart => '0', max_fraction => 1}), qr/names orphans/, 'what is protected may be named');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP protect); DROP TABLE people; CALL imagekit.search_unwatched()});
unlike(refusals(q{apart => '0', max_fraction => 1}), qr/names orphans/, 'what is gone names nothing');

# Another database of the server that works for the account ----------------------------------------------------------------

unlike(refusals(q{apart => '0', max_fraction => 1}), qr/database/, 'this database is alone');
$t->sql('CREATE DATABASE other');
$t->prepare(db => 'other');
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/mail/11.jpg}')", 'other');
eventually { $t->sql('SELECT count(*) FROM imagekit.history', 'other') } '1', 'another database works for the account';
like(refusals(q{apart => '0', max_fraction => 1}), qr/^database other of this server works for the account as well, and what its rows use is not in the audit/m, 'which is said');
my ($name) = rows(q{apart => '0', max_fraction => 1}) =~ /approve => '([0-9a-f]{32})'/;
like(rows("apart => '0', max_fraction => 1, approve => '$name'"), qr/^approved\|\|\|database other/m, 'and may be approved');
$t->sql('DROP DATABASE other');
unlike(refusals(q{apart => '0', max_fraction => 1}), qr/database/, 'a database that is gone uses nothing');

# Nobody waits for a dry run ------------------------------------------------------------------------------------------------

my $open = $node->background_psql('postgres');
$open->query_safe(q{BEGIN; SELECT count(*) FROM imagekit.delete_orphans('acme')});
audit();
$open->query_safe('COMMIT');
$t->sql(q{CALL imagekit.search_unwatched()});

# An audit waits for a deed that is not committed, and not for ever.
$open->query_safe(q{BEGIN; SELECT count(*) FROM imagekit.delete_orphans('acme', apart => '0', max_fraction => 1, dry_run => false)});
my $waiting = ImageKit::AuditCall->start($t, sql => q{CALL imagekit.audit('acme')});
eventually { $t->sql(q{SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'imagekit.audit_orphans'::regclass}) } '1', 'an audit waits for a deed';
$open->query_safe('ROLLBACK');
like($waiting->said, qr/NOTICE:  imagekit_cleanup: audit/, 'until it is over');
is($t->sql(q{SELECT proconfig::text ~ 'lock_timeout=30s' FROM pg_proc WHERE proname = 'complete_audit'}), 't', 'for half a minute at most');
$open->quit;

done_testing();
