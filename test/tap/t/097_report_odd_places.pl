# imagekit.report() where things are not as usual: keys that are others since the audit, sessions with settings of their own, databases
# of other encodings, letters that cannot be seen, names that do not end, a key that ImageKit refuses.

use strict;
use warnings;
use utf8;

use ImageKit::AuditCall;
use ImageKit::Browser;
use ImageKit::Page;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');

sub seed { $imagekit->seed(map { { filePath => $_, size => 1000, @old } } @_); return; }
sub html { my ($db) = @_; return $t->sql('SELECT imagekit.report()', $db) . "\n"; }
sub page { my ($db) = @_; return ImageKit::Page->new(html($db)); }
sub bytes { my ($text) = @_; utf8::encode($text); return $text; }
# Of the rows with a URL that ends so: the page's statement, run in a session with these settings.
sub statement
{
	my ($page, $ends) = @_;
	my ($item) = grep { ($_->all('bdi'))[0]->text =~ /\Q$ends\E$/ } $page->by_id('dangling')->all('li');
	return ($item->statements)[0][1];
}
sub run { my ($sql, $settings, $db) = @_; local $ENV{PGOPTIONS} = $settings // ''; local $ENV{PGCLIENTENCODING} = 'UTF8'; return $t->sql(bytes($sql), $db); }
sub audit { my ($settings, $db) = @_; return ImageKit::AuditCall->start($t, options => $settings // '', db => $db)->said; }

my @sessions = ('', '-c datestyle=german -c intervalstyle=sql_standard -c timezone=America/New_York -c extra_float_digits=-5 -c bytea_output=escape',
	'-c datestyle=sql,dmy -c intervalstyle=iso_8601 -c timezone=Asia/Kolkata -c standard_conforming_strings=off');

# Keys --------------------------------------------------------------------------------------------------------------------

$t->sql(qq{
	CREATE TABLE times (at timestamptz PRIMARY KEY, picture text);
	CREATE TABLE parts (day date, span interval, amount float8, raw bytea, stamp timestamp, picture text, PRIMARY KEY (day, span, amount, raw, stamp));
	CREATE TABLE shorts (id text PRIMARY KEY, n int, picture text);
	SELECT imagekit.watch('times', '{picture}'), imagekit.watch('parts', '{picture}'), imagekit.watch('shorts', '{picture}');
	INSERT INTO times VALUES ('2026-03-04 01:30:00.25+00', '$ENDPOINT/at.jpg'), ('2026-04-03 01:30:00.25+00', '$ENDPOINT/other.jpg');
	INSERT INTO parts VALUES ('2026-03-04', '-1 day 02:03:04', 0.1 + 0.2, '\\x00ff', '2026-03-04 05:06:07', '$ENDPOINT/parts.jpg');
	INSERT INTO shorts VALUES ('', 1, '$ENDPOINT/empty.jpg'), ('a', 2, '$ENDPOINT/letter.jpg'), ('(7,8)', 3, '$ENDPOINT/like.jpg'), ('word', 4, '$ENDPOINT/word.jpg')});
seed('/orphan.jpg');
like(audit($sessions[1]), qr/audit of server "acme": 1 files.*7 URLs without a file/s, 'an audit by a session with settings of its own');
my $seen = q{SELECT string_agg(relation || ' ' || row_key || ' ' || first_seen::text, E'\n' ORDER BY relation::text, row_key) FROM imagekit.dangling};
my $first = $t->sql($seen);
my $page = page();
for my $session (@sessions)
{
	is(run(statement($page, 'at.jpg') =~ s/\*/picture/r, $session), "$ENDPOINT/at.jpg", "a key that is a time finds its row: $session");
	is(run(statement($page, 'parts.jpg') =~ s/\*/picture/r, $session), "$ENDPOINT/parts.jpg", 'and one of a day, a span, a fraction, bytes and a time');
	is(run(statement($page, "/$_.jpg") =~ s/\*/picture/r, $session), "$ENDPOINT/$_.jpg", "and one that is short: $_") for 'empty', 'letter';
}
like(run(statement($page, 'like.jpg')), qr/^shorts\|\(7,8\)\|picture\|t\|t$/, 'one that looks like a longer key is found by its URL');
like(audit($sessions[2]), qr/7 URLs without a file/, 'another by a session with other settings');
is($t->sql($seen), $first, 'has the same rows, and since when they are there');
is($t->sql('SET timezone = \'Asia/Tokyo\'; SET datestyle = german; SELECT key FROM imagekit."references"(ARRAY[' . "'$ENDPOINT/at.jpg'])"), '2026-03-04 01:30:00.25+00', 'imagekit.references() names rows the same way');

# The key is another since.
for my $key ('id, n', 'n', '')
{
	$t->sql('ALTER TABLE shorts DROP CONSTRAINT IF EXISTS shorts_pkey' . ($key ? ", ADD CONSTRAINT shorts_pkey PRIMARY KEY ($key)" : ''));
	my $page = page();
	for my $name (qw(empty letter word))
	{
		my $statement = statement($page, "/$name.jpg");
		is($statement, "SELECT * FROM imagekit.references('$ENDPOINT/$name.jpg');", "with the key ($key), the row is found by its URL");
		like(run($statement), qr/^shorts\|[^|]*\|picture\|t\|t$/, 'and it is');
	}
}
$t->sql('ALTER TABLE shorts ADD CONSTRAINT shorts_pkey PRIMARY KEY (id)');

# Encodings ---------------------------------------------------------------------------------------------------------------

my %letters = (EUC_JP => '日本', EUC_KR => '한국', LATIN1 => "caf\x{e9}", WIN1251 => 'Ёж', SQL_ASCII => "caf\x{e9}");
for my $encoding (sort keys %letters)
{
	my ($db, $name) = (lc $encoding, $letters{$encoding});
	$t->sql("CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$t->prepare(db => $db, enable => 0);
	run(qq{CREATE TABLE "$name" (id text PRIMARY KEY, picture text);
		SELECT imagekit.watch('"$name"', '{picture}');
		INSERT INTO "$name" VALUES ('$name\x01''\\', '$ENDPOINT/key.jpg')}, undef, $db);
	run(qq{INSERT INTO "$name" VALUES (E'\\xff', '$ENDPOINT/byte.jpg')}, undef, $db) if $encoding eq 'SQL_ASCII';
	run(qq{INSERT INTO imagekit.audit_dangling (server, relation, row_key, source, url, path, first_seen, last_seen)
		SELECT s.oid, '"$name"'::regclass, r.id, 'picture', r.picture, '/key.jpg', now(), now() FROM pg_foreign_server s CROSS JOIN "$name" r}, undef, $db);
	for my $client ('UTF8', $encoding)
	{
		my $page;
		{
			local $ENV{PGCLIENTENCODING} = $client;
			my $html = html($db);
			unlike($html, qr/[^\x0a\x20-\x7e]/, "$encoding: the page is ASCII for a client in $client");
			$page = ImageKit::Page->new($html);
		}
		like(($page->by_id('dangling')->all('li'))[-1]->words, qr/ public\."?$name"?, row \Q$name\E\x{2401}'/, "$encoding: it says what there is") if $encoding ne 'SQL_ASCII';
		is(run(statement($page, '/key.jpg') =~ s/\*/picture/r, undef, $db), "$ENDPOINT/key.jpg", "$encoding: its statement finds the row");
		is(run(statement($page, '/byte.jpg') =~ s/\*/picture/r, undef, $db), "$ENDPOINT/byte.jpg", 'also by a byte that is no text') if $encoding eq 'SQL_ASCII';
	}
}

# Names -------------------------------------------------------------------------------------------------------------------

my %hidden = (200 => "\x{ad}", 'a' => "\x{200b}", 'b' => "\x{200f}", 'c' => "\x{61c}", 'd' => "\x{e0041}", 'e' => "\x{200e}", 'f' => "\x{2066}");
my $long = '/' . join('/', ('folder' x 10) x 25) . '/end.jpg';
seed($long, map { "/hidden$_$hidden{$_}.jpg" } sort keys %hidden);
$t->sql(qq{INSERT INTO shorts VALUES (E'x\\u200b\\U000E0041', 9, '$ENDPOINT/unseen.jpg'), ('~', 10, '$ENDPOINT/gone$long')});
audit();
$page = page();
my @orphans = map { ($_->all('div'))[0] } $page->by_id('orphans')->all('li');
is(bytes(join(' ', sort grep { /hidden/ } map { ($_->all('bdi'))[0]->text } @orphans)), bytes(join(' ', map { "/hidden$_\x{fffd}.jpg" } sort keys %hidden)), 'what cannot be seen is shown');
my $unseen = statement($page, 'unseen.jpg');
like($unseen, qr/WHERE id = E'x\\u200b\\U000e0041'/s, 'and spelled out in SQL');
is(run($unseen =~ s/\*/n/r), '9', 'which finds the row');
my ($item) = grep { $_->text =~ /end\.jpg/ } @orphans;
my ($shown, $whole) = map { $_->text } $item->all('bdi');
is($whole, $long, 'a long path is there');
is(length($shown), 161, 'its beginning and end are seen');
is(scalar(grep { ($_->attribute('class') // '') eq 'long' } $item->all('details')), 1, 'the rest when it is asked for');
like(($page->all('img'))[0] ? 'img' : 'none', qr/img/, 'there is a thumbnail');

# Sizes are as elsewhere.
for my $size (0, 1000, 1023, 1024, 1500, 1048575, 1048576, 5e9, 3e12)
{
	my ($shown, $pretty) = split(/\|/, $t->sql("SELECT imagekit.for_people($size, 'bytes'), pg_size_pretty(${size}::bigint)"));
	my ($is, $unit) = $pretty =~ /^(\d+) (\w+)$/;
	# pg_size_pretty() goes on with a unit up to ten thousand.
	my %size = (B => 1, bytes => 1, kB => 1024, MB => 1024**2, GB => 1024**3, TB => 1024**4);
	my ($number, $as) = $shown =~ /^([\d.,]+) (\w+)$/;
	cmp_ok(abs($number =~ tr/,//dr * $size{$as} - $is * $size{$unit}), '<=', 0.06 * $size{$as} + 0.5 * $size{$unit}, "$shown is $pretty");
}
is($t->sql(q{SELECT imagekit.chart_ticks(0, 3 * 1024 * 1024, 'bytes')}), '{0,1048576,2097152,3145728}', 'and a chart of them has whole ones on its scale');

# ImageKit's own count, asked for in vain today.
$t->sql(q{UPDATE imagekit.usage_history SET day = (now() AT TIME ZONE 'UTC')::date - 3, library_bytes = 4242, asked_at = now(), problem = 'HTTP 500'});
my @counts = grep { "@$_" =~ /4242/ } page()->by_id('storage-1')->rows;
is(join(' ', map { $_->[0] } @counts), $t->sql(q{SELECT to_char((now() AT TIME ZONE 'UTC')::date - 2, 'FMDD Mon YYYY, HH24:MI')}), 'stands at the end of the day that was counted');

# However many accounts and charts there are, a long queue is read once.
$t->sql(q{CREATE SERVER second FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/second');
	CREATE SERVER third FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/third')});
is($t->sql(q{BEGIN; SELECT length(imagekit.report()) > 0; SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relid = 'imagekit.outbox'::regclass}), "t\n1", 'the queue is read once');
$t->sql('DROP SERVER second; DROP SERVER third');

# A key that ImageKit refuses ---------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'forbidden', count => 0);
$t->sql("SELECT imagekit.enqueue(ARRAY['$ENDPOINT/orphan.jpg'])");
my $todo;
# It is tried again each second.
wait_for { ($todo) = grep { $_->text =~ /stands in the way/ } map { $_->all('li') } page()->by_class('todo'); $todo } 'sending stops';
like($todo->words, qr/: HTTP 403.*[^.]\. The key is wrong, expired or restricted\. It is tried again at [^.]*, and at once with another key\./, 'it is said what to do, in whole sentences');
unlike($todo->words, qr/\.\./, 'with one full stop each');
my ($mend) = $todo->statements;
is(join(': ', @$mend), q{Put the right key into the user mapping: ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_...');}, 'and how');
$imagekit->no_faults;
$t->sql($mend->[1] =~ s/private_\.\.\./private_key_of_acme/r);

# In a browser ------------------------------------------------------------------------------------------------------------

SKIP:
{
	my $browser = ImageKit::Browser->new;
	fail('continuous integration has Chromium') if !$browser && ($ENV{CI} // '') eq 'true';
	skip('there is no Chromium: test/install-dependencies fetches it', 1) unless $browser;
	my ($seen) = $browser->measure(html(), [ 360, 'light' ]);
	cmp_ok($seen->{scroll}, '<=', 360, 'a long path makes no wide page');
	cmp_ok($seen->{narrowest}, '>=', 100, 'a first column is not a word a line') or diag $seen->{narrow};
	cmp_ok($seen->{tallest}, '<=', 260, 'and a long path no tall item') or diag $seen->{tall};
}

done_testing();
