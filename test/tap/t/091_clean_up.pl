# README's page "Cleaning up an existing library", as an operator follows it: its statements as they stand there, on an old database
# with a messy library. At the end the library has what rows use, what is protected, what is young, and nothing else.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my ($page) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^## Cleaning up an existing library\n(.*?)^## /ms or die 'README has no such page';
my @blocks = $page =~ /^```sql\n(.*?)^```/msg;
my @steps = $page =~ /^\*\*(\d\. [^*]+?)\*\*/mg;
is(join('|', map { s/\n/ /gr } @steps), '1. Make sure that all uses count.|2. Audit.|3. Look at what it found|4. A day later|5. Delete.|6. Keep it clean.', 'the steps of the page');
is(scalar(@blocks), 9, 'and its statements');
my ($make, $find, $protect, $audit, $look, $again, $delete, $approve, $keep) = @blocks;

my $t = ImageKit::Test->new(ready => 0);
my $imagekit = $t->imagekit;
# An old database -----------------------------------------------------------------------------------------------------------

my %old = (createdAt => '2023-05-01T10:00:00.000Z', updatedAt => '2023-05-01T10:00:00.000Z');
my (@used, @orphans);
push @used, map { "/patches/$_.jpg" } 1 .. 60;
push @used, map { "/avatars/u$_.png" } 1 .. 20;
push @used, '/letters/head.jpg', '/logos/logo.svg', '/mailings/spring.jpg', '/log/only.jpg';
push @orphans, map { "/patches/old $_.jpg" } 1 .. 3;
push @orphans, '/avatars/gone.png';
push @orphans, map { "/import 2019/$_.jpg" } 1 .. 12;
$imagekit->seed(map { { filePath => $_, size => 100, %old } } @used, @orphans);
$imagekit->seed({ filePath => '/patches/young.jpg', size => 100 });
$t->sql(qq{
	CREATE TABLE patches (id int PRIMARY KEY, images text[], schema jsonb);
	CREATE TABLE modules (id int PRIMARY KEY, images text[]);
	INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/patches/' || i || '.jpg'] FROM generate_series(1, 60) i;
	INSERT INTO patches VALUES (1000, '{$ENDPOINT/patches/lost.jpg}');
	CREATE TABLE users (id int PRIMARY KEY, profile jsonb);
	INSERT INTO users SELECT i, jsonb_build_object('avatar', '$ENDPOINT/avatars/u' || i || '.png?tr=w-64') FROM generate_series(1, 20) i;
	CREATE TABLE letters (id int PRIMARY KEY, body text);
	INSERT INTO letters VALUES (1, '<p><img src="$ENDPOINT/letters/head.jpg"></p>');
	CREATE TABLE log (at timestamptz DEFAULT now(), line text);
	INSERT INTO log (line) VALUES ('GET $ENDPOINT/log/only.jpg')});

# The page ------------------------------------------------------------------------------------------------------------------

# Only what is another's in a test: where ImageKit is, the key, and how fast it may be asked.
$make =~ s/(url_endpoint '\Q$ENDPOINT\E')/$1, api_url '@{[ $imagekit->url ]}', read_rate '1000', read_burst '1000', write_rate '1000', write_burst '1000'/ or die 'no account is made';
$make =~ s/'private_\.\.\.'/'$KEY'/ or die 'no key is given';
$t->sql($make);
my ($recipes) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^## Privileges\n.*?^```sql\n(.*?)^```/ms or die 'README has no recipes';
$t->sql(join('', map { "CREATE ROLE $_;" } sort keys %{ { map { $_ => 1 } $recipes =~ /\bTO (\w+);/g } }) . $recipes);
$_ = "SET ROLE operator;\n$_" for $find, $audit, $look, $again, $delete, $approve;
$keep =~ s/^(?=SELECT)/SET ROLE operator;\n/m or die 'step 6 has no look';

my @found = split /\n/, $t->sql($find);
is(join(' ', sort map { join '.', (split /\|/)[0, 1] } @found), 'letters.body log.line patches.images users.profile', '1: the columns with images');
for my $row (@found)
{
	my ($statement) = $row =~ /\|(SELECT imagekit\..*)$/;
	$statement = q{SELECT imagekit.waive('log', 'line', reason => 'a log')} if $row =~ /^log\|/;
	$t->sql($statement);
}
is($t->sql($find) =~ s/^log\|.*\n?//mr, '', 'are watched or waived');
$t->sql($protect);

like($t->messages($audit), qr/audit of server "acme": \d+ files .* orphans/, '2: an audit');
like($t->sql($audit =~ s/^CALL.*?;.*\n//mgr), qr/^complete\|101\|10100\|18\|1800\|0\|1\|$/m, 'is complete');
is(join(' ', sort map { (split /\|/)[0] } grep { m{^/} } split /\n/, $t->sql($look)), '/avatars /avatars/gone.png /import 2019 ' . join(' ', sort map { "/import 2019/$_.jpg" } 1 .. 12) . ' /letters /log /log/only.jpg /logos /mailings /patches /patches/old 1.jpg /patches/old 2.jpg /patches/old 3.jpg /patches/young.jpg',
	'3: it shows the orphans, and all folders');
like($t->sql($look), qr{^patches\|1000\|images\|$ENDPOINT/patches/lost\.jpg$}m, 'and the row without image');

# The log's image is used after all: a mistake that is found by looking.
$t->sql(q{SELECT imagekit.unwaive('log', 'line'); SELECT imagekit.watch('log', '{line}'); CALL imagekit.audit()});
is($t->sql('SELECT count(*) FROM imagekit.orphans'), 17, 'what should be none is none, once it is watched');

$t->sql(q{UPDATE imagekit.audit_runs SET started_at = started_at - interval '25 hours', compared_at = compared_at - interval '25 hours';
	UPDATE imagekit.audit_orphans SET first_seen = first_seen - interval '25 hours', last_seen = last_seen - interval '25 hours'});
my $would = $t->sql($again);
like($would, qr/^would be queued\|16\|1600\|/m, '4: a day later they may be deleted');
my @against = $would =~ /^refused\|\|\|(.*)/mg;
is(scalar(@against), 2, 'two things stand against it') or diag $would;
like($against[0], qr/^16 of 101 files are 15\.8 % of the library, more than max_fraction \(5\.0 %\)/, 'that they are many');
like($against[1], qr{^folder /import 2019 would be emptied: all of its 12 files}, 'and that a folder is emptied');
my ($name) = $would =~ /approve => '(\w+)' names exactly these/ or die 'it gives no name';
like($t->messages($delete), qr/ERROR:  orphans are not deleted: 16 of 101 files/, '5: it refuses');
is(scalar($imagekit->files), 101, 'nothing was deleted so far');

$approve =~ s/'0f3c\.\.\.'/'$name'/ or die 'the page approves nothing';
like($t->sql($approve), qr/^queued\|16\|1600\|/m, 'and deletes what is approved');
eventually { $t->sql($delete =~ s/^SELECT \* FROM imagekit\.delete_orphans.*\n//mr) } 'deleted|16', 'as the history says';
is(join(' ', sort $imagekit->files), join(' ', sort @used, '/patches/young.jpg'), 'the library is clean: what is used, protected or young, and nothing else');

like($t->sql($keep), qr/^acme\|\d{4}-/m, '6: the operator sees when the next audit is');
is($t->sql('SET ROLE operator; SELECT count(*) FROM imagekit.unwatched_columns UNION ALL SELECT count(*) FROM imagekit.waivers'), "0\n0", "and that nothing is left unwatched or waived");
is($t->sql(q{SELECT server, at >= now() + interval '6 days' - interval '1 hour' AND extract(hour FROM at) BETWEEN 1 AND 4 FROM (SELECT * FROM imagekit.next_audits) x}),
	'acme|t', '6: and is audited by itself from now on');

done_testing();
