# delete_orphans(): what may be deleted, what it refuses for, and what becomes of what it queues. Nothing here may ever delete a
# file that a row uses.

use strict;
use warnings;

use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);

my %old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');
sub seed { return $imagekit->seed(map { { filePath => $_, size => 1000, %old } } @_); }
my $searching;
sub audit
{
	my $said = $t->messages('CALL imagekit.audit()');
	like($said, qr/NOTICE:  imagekit_cleanup: audit/, $_[0] // 'audit') or diag $said;
	$t->sql('CALL imagekit.search_unwatched()') if $searching;
	return;
}

# "outcome|files|bytes|detail" a line.
sub rows { my ($arguments) = @_; return $t->sql("SELECT * FROM imagekit.delete_orphans($arguments)"); }
sub refusals { return join "\n", map { /^refused\|\|\|(.*)/ ? $1 : () } split /\n/, rows($_[0] // q{apart => '0'}); }
sub digest { my ($arguments) = @_; return rows($arguments) =~ /approve => '([0-9a-f]{32})'/ ? $1 : undef; }
sub queued { return $t->sql(q{SELECT count(*) FROM imagekit.pending}); }

# In the order in which an operator meets them -------------------------------------------------------------------------------

my @names = map { "/used/$_.jpg" } 1 .. 40;
seed(@names, '/orphan.jpg', '/pets/orphan two.jpg');
$t->sql(qq{INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/used/' || i || '.jpg'] FROM generate_series(1, 40) i});
is(rows(''), "would be queued|0|0|nothing to delete\nrefused|||no audit of it is complete: CALL imagekit.audit('acme')", 'without an audit it refuses');
like($t->messages('SELECT * FROM imagekit.delete_orphans(dry_run => false)'),
	qr/ERROR:  orphans are not deleted: no audit of it is complete.*\nDETAIL:  Candidates: 0 files\.\nHINT:  SELECT \* FROM imagekit\.delete_orphans/, 'and says so in an error when it is told to delete');
audit('the first audit');
like(refusals(), qr/^the database was never searched for URLs in columns that are not watched: CALL imagekit\.search_unwatched\(\);$/, 'it refuses until the database was searched for other columns');
$t->sql('CALL imagekit.search_unwatched()');
is(refusals(), '', 'then not any more');
$searching = 1;
is(rows(''), "would be queued|0|0|nothing to delete\nleft: seen too short|2|2000|not found orphaned by two complete audits at least 1 day apart: CALL imagekit.audit() again later",
	'one audit is not enough');
is(rows(q{apart => '0'}) =~ /^left: seen too short\|2\|/m ? 1 : 0, 1, 'however close they may be');
audit('the second');
like(rows(''), qr/^left: seen too short\|2\|2000\|/m, 'nor two in a minute');
is(rows(q{apart => '0'}), "would be queued|2|2000|/orphan.jpg, /pets/orphan two.jpg. dry_run => false deletes them", 'unless one says so');
is(queued(), 0, 'a dry run queues nothing');

for my $case (
	[ q{older_than => '23 hours'}, qr/ERROR:  older_than must be at least a day\nDETAIL:  The row of a file/ ],
	[ q{older_than => NULL}, qr/older_than must be at least a day/ ],
	[ q{max_fraction => 1.5}, qr/max_fraction must be between 0 and 1/ ],
	[ q{max_files => -1}, qr/max_files must not be negative/ ],
	[ q{apart => '-1 day'}, qr/apart must not be negative/ ],
	[ q{'nobody'}, qr/server "nobody" does not exist/ ],
	[ q{approve => 'x'}, qr/the candidates, or what stands against them, are not what approve names\nDETAIL:  There are 0 now/ ])
{
	like($t->messages("SELECT * FROM imagekit.delete_orphans($case->[0])"), $case->[1], $case->[0]);
}

# What it refuses for -------------------------------------------------------------------------------------------------------

like(refusals(q{apart => '0', max_fraction => 0.04}), qr/^2 of 42 files are 4\.8 % of the library, more than max_fraction \(4\.0 %\): is every table watched/, 'a share that is too large');
like(refusals(q{apart => '0', max_files => 1}), qr/^2 files are more than max_files \(1\): look at some of them/, 'too many');
my $named = digest(q{apart => '0', max_files => 1});
like($named, qr/^[0-9a-f]{32}$/, 'a dry run gives the candidates a name');
is(rows("apart => '0', max_files => 1, approve => '$named'") =~ /^approved\|\|\|2 files are more/m ? 1 : 0, 1, 'which an operator may approve');
like($t->messages(qq{SELECT * FROM imagekit.delete_orphans(apart => '0', max_files => 1, dry_run => false)}), qr/ERROR:  orphans are not deleted: 2 files are more than max_files/, 'but must');
seed(map { "/mailing/$_.jpg" } 1 .. 10);
seed('/mailing/sub/x.jpg');
audit();
audit();
my $loose = q{apart => '0', max_fraction => 0.5};
is(refusals($loose), 'folder /mailing would be emptied: all of its 11 files, with those in folders below it, are orphans. Does something else use it, a mailing, an app, a style sheet?', 'a folder that would be emptied');
my $other = digest($loose);
isnt($other, $named, 'other candidates have another name');
like($t->messages("SELECT * FROM imagekit.delete_orphans($loose, approve => '$named')"), qr/the candidates, or what stands against them, are not what approve names/, 'so what was approved before counts no more');

$t->sql(qq{INSERT INTO modules SELECT 1, array_agg('$ENDPOINT/used/' || i || '.jpg') FROM generate_series(1, 30) i});
audit();
$t->sql('SET session_replication_role = replica; TRUNCATE modules; DELETE FROM patches WHERE id > 35');
audit();
like(refusals($loose), qr/^table public\.modules used 30 files at an audit of the last 90 days, and 0 at the last one: were its rows meant to go\?$/m, 'a table that uses far fewer files than before');
unlike(refusals($loose), qr/patches/, 'but not one that uses a few less');

$t->sql(q{SELECT imagekit.unwatch('modules')});
unlike(refusals($loose), qr/was watched at the last audit/, 'a table that used none is not missed');
$t->sql(q{SELECT imagekit.watch('modules', '{images}')});
like(refusals($loose), qr/^table public\.modules is watched since the last audit, which has not read it: CALL imagekit\.audit\('acme'\)$/m, 'a table that the audit has not read');
my $unapproved = digest($loose);
like($t->messages("SELECT * FROM imagekit.delete_orphans($loose, dry_run => false, approve => '$unapproved')"), qr/ERROR:  orphans are not deleted: table public\.modules is watched since/, 'for which there is no approval');
audit();
$t->sql(qq{CREATE TABLE letters (body text); INSERT INTO letters VALUES ('<img src="$ENDPOINT/orphan.jpg">'); CALL imagekit.search_unwatched()});
like(refusals($loose), qr/^column body of table public\.letters: not watched; found in 1 row.*Run SELECT imagekit\.watch\(/m, 'a column that is not watched');
$t->sql(q{SELECT imagekit.waive('letters', 'body', 'old letters')});
unlike(refusals($loose), qr/letters/, 'until it is waived');

$t->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_test_other')});
like(refusals($loose), qr/^its key, api_url or prefixes are others than at the last audit: CALL imagekit\.audit\('acme'\)$/m, 'another key');
$t->sql(qq{ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key '$KEY')});
$t->sql(q{UPDATE imagekit.audit_runs SET compared_at = compared_at - interval '8 days'});
like(refusals($loose), qr/^the last complete audit read the tables at .*, more than 7 days ago/m, 'an audit that is long past');

# What is deleted -----------------------------------------------------------------------------------------------------------

audit('the last audit but one');
audit('the last audit');
$t->sql(qq{ALTER SERVER acme OPTIONS (ADD protect '/mailing/1.jpg')});
is(rows($loose) =~ /^left: protected\|1\|1000\|by the option protect$/m ? 1 : 0, 1, 'what is protected since is left');
$named = digest($loose);
# In between: one of them is used again, another is uploaded anew, and both before the drain comes to them.
$t->sql(q{SELECT imagekit.pause('acme')});
is($t->sql("SELECT outcome || ' ' || files FROM imagekit.delete_orphans($loose, dry_run => false, approve => '$named') LIMIT 1"), 'queued 17', 'what was approved is queued');
is(queued(), 17, 'all of it');
is($t->sql(qq{SELECT string_agg(DISTINCT origin::text || ' ' || relation || ' ' || (file_id IS NOT NULL), ', ') FROM imagekit.backlog}), 'A 0 true', 'as the audit\'s, with its fileId');
is(rows($loose) =~ /^left: queued already\|17\|/m ? 1 : 0, 1, 'and is no candidate any more');
$t->sql(qq{INSERT INTO patches VALUES (1001, '{$ENDPOINT/orphan.jpg}')});
$imagekit->seed({ filePath => '/mailing/2.jpg', size => 2000 });
$t->sql(q{SELECT imagekit.resume('acme')});
eventually { queued() } 0, 'all is settled';
is($t->sql(q{SELECT outcome || ' ' || count(*) FROM imagekit.history GROUP BY outcome ORDER BY 1}), "deleted 15\nkept 1\nskipped 1", 'the rest is deleted');
is(join(' ', grep { !m{^/used/} } $imagekit->files), '/mailing/1.jpg /mailing/2.jpg /orphan.jpg', 'but what is used again, uploaded anew or protected');
is(scalar(grep { m{^/used/} } $imagekit->files), 35, 'and what is used');
like($t->sql(qq{SELECT answer FROM imagekit.explain('$ENDPOINT/mailing/3.jpg') WHERE item = 'history'}), qr/^deleted at .*; an orphan of imagekit\.delete_orphans\(\)/, 'which explain() says');
audit();
is($t->sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans}), '/mailing/2.jpg', 'the next audit finds what is left');

# Its defaults, and the limits of the account -----------------------------------------------------------------------------------

# An account of its own: a hundred files, of them five that have been orphans for long enough, and one for not quite.
my $OTHER = 'https://ik.imagekit.io/other';
$imagekit->accounts(account => 'other', keys => ['private_other']);
sub days_ago { my ($days) = @_; my $at = POSIX::strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime(time() - 86400 * $days)); return (createdAt => $at, updatedAt => $at); }
$imagekit->_post('seed', { account => 'other', files => [ (map { { filePath => "/used$_.jpg", size => 1000, %old } } 1 .. 94), (map { { filePath => "/eight$_.jpg", size => 1000, days_ago(8) } } 1 .. 5),
	{ filePath => '/six.jpg', size => 1000, days_ago(6) } ] });
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}', write_rate '2', write_burst '1', bulk_size '1', max_deletes_per_hour '3');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	INSERT INTO patches SELECT 2000 + i, ARRAY['$OTHER/used' || i || '.jpg'] FROM generate_series(1, 94) i});
# Another audit of it, so many hours after the one before.
sub audit_other
{
	my ($hours) = @_;
	$t->sql(qq{UPDATE imagekit.audit_runs SET started_at = started_at - interval '$hours hours', compared_at = compared_at - interval '$hours hours' WHERE server = (SELECT oid FROM pg_foreign_server WHERE srvname = 'other');
		UPDATE imagekit.audit_orphans SET first_seen = first_seen - interval '$hours hours', last_seen = last_seen - interval '$hours hours' WHERE server = (SELECT oid FROM pg_foreign_server WHERE srvname = 'other')}) if $hours;
	like($t->messages(q{CALL imagekit.audit('other')}), qr/NOTICE:  imagekit_cleanup: audit of server "other"/, "an audit of the other account, @{[ $hours // 0 ]} hours later");
	$t->sql('CALL imagekit.search_unwatched()');
	return;
}
audit_other();
my $eight = join(', ', map { "/eight$_.jpg" } 1 .. 3) . ', .... dry_run => false deletes them';
my $young = 'left: too young|1|1000|uploaded or changed less than 7 days ago';
sub short { my ($gap) = @_; return "would be queued|0|0|nothing to delete\n$young\nleft: seen too short|5|5000|not found orphaned by two complete audits at least $gap apart: CALL imagekit.audit() again later"; }
is(rows(q{'other'}), short('1 day'), 'by default files must be 7 days old, and two audits a day apart');
audit_other(25);
is(rows(q{'other'}), "would be queued|5|5000|$eight\n$young", '8 days and 25 hours are enough; and 5 of 100 files are not more than 5 % of them');
# The longest grace, where that is longer: of the account, and of its tables.
for my $longer ([ q{ALTER SERVER other OPTIONS (ADD grace_period '2 days')}, '2 days', 24 ], [ q{SELECT imagekit.watch('modules', '{images}', grace => '3 days')}, '3 days', 24 ])
{
	my ($statement, $gap, $hours) = @$longer;
	$t->sql($statement);
	is(rows(q{'other'}) =~ s/^refused.*//msr =~ s/\n$//r, short($gap), "two audits must be $gap apart: $statement");
	audit_other($hours);
	is(rows(q{'other'}), "would be queued|5|5000|$eight\n$young", 'and when they are, it may be deleted');
}
# A file less in the library, that a row uses.
$imagekit->_post('remove', { account => 'other', filePaths => ['/used94.jpg'] });
audit_other(0);
is(refusals(q{'other'}), '5 of 99 files are 5.1 % of the library, more than max_fraction (5.0 %): is every table watched that uses files of it? See SELECT * FROM imagekit.find_unwatched()', '5 of 99 are more');
$imagekit->_post('seed', { account => 'other', files => [ { filePath => '/used94.jpg', size => 1000, %old } ] });
audit_other(0);

$t->sql('ALTER SERVER other OPTIONS (DROP grace_period)');
$imagekit->forget;
sub left { return scalar grep { /eight/ } $imagekit->files(account => 'other'); }
is($t->sql(q{SELECT outcome || ' ' || files FROM imagekit.delete_orphans('other', apart => '0', dry_run => false) LIMIT 1}), 'queued 5', 'they are queued');
eventually { left() } 2, 'as many are deleted as max_deletes_per_hour allows';
eventually { $t->sql(q{SELECT cause FROM imagekit.status WHERE server = 'other'}) } qr/^max_deletes_per_hour \(3\) is reached \(since /, 'and the status says why no more';
stays { left() } 2, 'the others wait for their hour';
my @when = map { $_->{wall_us} / 1e6 } $imagekit->deletes;
is(scalar(@when), 3, 'with a request for each');
cmp_ok($when[-1] - $when[0], '>', 2 / 2 - 0.1, 'at the pace of the account');
$t->sql(q{ALTER SERVER other OPTIONS (DROP max_deletes_per_hour)});
eventually { left() } 0, 'without the limit they are all deleted';
is(join(' ', grep { !/used/ } $imagekit->files(account => 'other')), '/six.jpg', 'and the young one is not');

done_testing();
