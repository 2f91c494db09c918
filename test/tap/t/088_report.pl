# imagekit.report(): every figure on the page against what the emulator has and the rows say, the SQL beside the findings run, hostile
# names harmless; and the page in a browser.

use strict;
use warnings;

use ImageKit::Browser;
use ImageKit::Images;
use ImageKit::Page;
use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $images = ImageKit::Images->start;
my $origin = $images->origin;
my $t = ImageKit::Test->new(ready => 0, settings => { 'imagekit_cleanup.max_attempts' => 2 });
my ($node, $imagekit) = ($t->node, $t->imagekit);

# Nothing here may be split by midnight, UTC.
wait_for { time() % 86400 < 86400 - 100 } 'it is not just before midnight', 110;

sub report { my ($arguments, $db) = @_; return $t->sql('SELECT imagekit.report(' . ($arguments // '') . ')', $db) . "\n"; }
sub page_of { my ($arguments, $db) = @_; return ImageKit::Page->new(report($arguments, $db)); }
sub bytes { my ($text) = @_; utf8::encode($text); return $text; }
sub literal { my ($text) = @_; return "'" . $text =~ s/'/''/gr . "'"; }
sub identifier { my ($text) = @_; return '"' . $text =~ s/"/""/gr . '"'; }
sub rows_of { my ($sql) = @_; return map { [ split(/\|/, $_, -1) ] } split(/\n/, $t->sql($sql)); }

# Every figure on the page has to be looked at by one of these.
my %seen;
sub marked { my ($node) = @_; $seen{ $_ + 0 } = 1 for grep { $_->tag eq 'data' } $node, $node->all; return $node; }
sub says { my ($node, $expected, $name) = @_; return is(bytes(marked($node)->words), bytes($expected), $name); }
sub table { my ($node) = @_; return join("\n", map { bytes(join(' | ', @$_)) } marked($node)->rows); }

# A page with nothing on it ---------------------------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE bare');
$t->sql('CREATE EXTENSION imagekit_cleanup', 'bare');
my $bare = page_of(undef, 'bare');
like($bare->words, qr/There is no account: nothing is captured, and nothing is deleted\./, 'without an account it says so');
is(join(' ', grep { $_ ne '0' } map { $_->attribute('value') } $bare->all('data')), '30', 'and there is nothing to be counted');
like($bare->by_id($_->[0])->words, $_->[1], "$_->[0]: said in words")
  for [ 'deletions', qr/No file was settled/ ], [ 'failures', qr/No attempt failed/ ], [ 'refusals', qr/No request failed/ ], [ 'latency', qr/No file that a row dropped was deleted/ ],
  [ 'queue', qr/No file waited/ ], [ 'failed', qr/No file has failed/ ], [ 'orphans', qr/No file is known/ ], [ 'doubtful', qr/No file is in doubt/ ],
  [ 'dangling', qr/No URL is known/ ], [ 'shares', qr/No audit is complete/ ], [ 'columns', qr/not searched yet/ ];
like($t->messages(q{SELECT imagekit.report('nobody')}, 'bare'), qr/server "nobody" does not exist/, 'not of a server that is not there');
like($t->messages("SELECT imagekit.report(NULL, $_)", 'bare'), qr/days must be between 1 and 731/, "nor of $_ days") for 0, 732, 'NULL';

# A messy database ------------------------------------------------------------------------------------------------------------

my $evil_table = q{<i onclick="x">Ta'b};
my $evil_name = "/pets/\"><img src=x onerror=document.title='hacked'>.jpg";
my $evil_owner = "\"><script>document.title='hacked'</script>&\x{202e}\x{645}\x{635}";
my $evil_account = q{e"><b>v'il};
my ($table, $account) = (identifier($evil_table), identifier($evil_account));
my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');

# path => size of all that is in the library and stays there.
my %size = (
	'/used.jpg' => 2400, '/shared.jpg' => 3600, '/pets/own.jpg' => 1200,
	$evil_name => 900_000, "/\x{202e}gpj.cod.jpg" => 80_000, "/\x{645}\x{635}.jpg" => 70_000, "/\x{1f600}.jpg" => 60_000, '/doc.pdf' => 1_234_567,
	(map { ("/many/f$_.jpg" => 1000 + $_) } 1 .. 60),
	"/a\x01b.jpg" => 5000, '/uncertain.jpg' => 4000,
	'/later.jpg' => 11_000, '/hopeless.jpg' => 12_000, (map { ("/held$_.jpg" => 13_000) } 1 .. 6),
	'/protected/logo.png' => 500);
my @orphans = ('/doc.pdf', $evil_name, "/\x{202e}gpj.cod.jpg", "/\x{645}\x{635}.jpg", "/\x{1f600}.jpg", map { "/many/f$_.jpg" } reverse 1 .. 60);
my @doubtful = ("/a\x01b.jpg", '/uncertain.jpg');
my @pending = ('/later.jpg', '/hopeless.jpg', map { "/held$_.jpg" } 1 .. 6);
sub sum { my (@paths) = @_; my $sum = 0; $sum += $size{$_} for @paths; return $sum; }

$t->prepare(server => { url_endpoint => "$origin/acme", url_aliases => $ENDPOINT, protect => '/protected/*', hold_fraction => 'off', hold_above => 'off' });
$imagekit->seed(map { { filePath => $_, size => $size{$_}, @old, /pdf/ ? (fileType => 'non-image') : () } } sort keys %size);
my ($hopeless) = map { $_->{fileId} } grep { $_->{filePath} eq '/hopeless.jpg' } @{ $imagekit->_get('files', limit => 1000) };
$t->sql(bytes(qq{
	CREATE TABLE $table (a text, b text, picture text, "own<er>" text, PRIMARY KEY (a, b));
	CREATE TABLE keyless (picture text);
	CREATE TABLE notes (id int PRIMARY KEY, body text);
	ALTER TABLE patches ADD owner_id int;
	SELECT imagekit.watch('patches', '{images, schema.imageUrl}', owner => 'owner_id'), imagekit.watch('keyless', '{picture}'),
	  imagekit.watch('modules', '{images}', grace => '10 seconds', hold_above => 2), imagekit.watch(} . literal($table) . qq{, '{picture}', owner => 'own<er>', hold_above => 2);
	INSERT INTO notes SELECT n, '<img src="$ENDPOINT/pets/own.jpg">' FROM generate_series(1, 3) n;
	CREATE SERVER $account FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/evil');
	SELECT imagekit.pause(} . literal($evil_account) . q{, '</p><script>alert(1)</script>')}));

# Deleted, not there, kept, protected; with a refusal and an error on the way.
$imagekit->seed(map { "/gone$_.jpg" } 1 .. 5);
$t->sql(qq{
	INSERT INTO patches VALUES (1, '{$ENDPOINT/used.jpg, $ENDPOINT/shared.jpg}', NULL, 7), (2, '{$ENDPOINT/shared.jpg}', NULL, 8), (3, '{$ENDPOINT/missing.jpg}', NULL, 8),
	  (11, ARRAY(SELECT '$ENDPOINT/gone' || n || '.jpg' FROM generate_series(1, 5) n), NULL, NULL),
	  (12, '{$ENDPOINT/used.jpg, $ENDPOINT/never.jpg, $ENDPOINT/protected/logo.png}', NULL, NULL)});
$imagekit->fault(kind => 'rate_limited', method => 'GET', reset => 50);
$imagekit->fault(kind => 'text_500', method => 'DELETE');
$t->sql('DELETE FROM patches WHERE id > 10');
wait_for { $t->pending eq '0' } 'all is settled';

# Left to a person: one that ImageKit refuses, one that cannot be read. Held, waiting, taken back.
$imagekit->fault(kind => 'text_500', contains => $hopeless, method => 'DELETE', count => 0);
my $unreadable = "$ENDPOINT/no%zz'&.jpg";
$t->sql(qq{
	INSERT INTO patches VALUES (13, '{$ENDPOINT/hopeless.jpg}', NULL, 7);
	INSERT INTO modules VALUES (1, ARRAY(SELECT '$ENDPOINT/held' || n || '.jpg' FROM generate_series(1, 3) n));
	INSERT INTO $table SELECT 'x', n, '$ENDPOINT/held' || n || '.jpg', '7' FROM generate_series(4, 6) n;
	DELETE FROM patches WHERE id > 10;
	DELETE FROM modules;
	DELETE FROM $table;
	SELECT imagekit.enqueue(ARRAY[} . literal($unreadable) . qq{]), imagekit.enqueue('{$ENDPOINT/later.jpg, $ENDPOINT/nowhere1.jpg, $ENDPOINT/nowhere2.jpg}', '1 hour')});
wait_for { $t->sql(q{SELECT failed, held FROM imagekit.status WHERE server = 'acme'}) eq '2|6' } 'failed and held';
$t->sql("SELECT imagekit.cancel(url => '$ENDPOINT/nowhere1.jpg'), imagekit.cancel(url => '$ENDPOINT/nowhere2.jpg')");

# What rows use, or are said to.
$t->sql(bytes(qq{
	INSERT INTO $table VALUES ('1', } . literal(q{comma, 'quote'}) . ", '$ENDPOINT/gone%20too.jpg', " . literal($evil_owner) . qq{), ('2', 'plain', '$ENDPOINT/gone%20too2.jpg', NULL),
	  ('3', 'own', '$ENDPOINT/pets/own.jpg', } . literal($evil_owner) . qq{);
	INSERT INTO keyless VALUES ('$ENDPOINT/gone3.jpg'), ('$ENDPOINT/uncertain.jpg and more')}));

# History that is known to us alone: [outcome, origin, relation, days ago, seconds it took].
srand 88;
my $today = time() - time() % 86400;
my @made = map { my $n = $_; [ (qw(deleted deleted deleted kept discarded))[ $n % 5 ], (qw(D U D U E A H))[ $n % 7 ], $n % 3 ? 'public.patches' : 'public.modules',
	1 + $n % 9, $n % 11 ? int(rand 300) + 0.25 : 86400 * $n / 20 ] } 1 .. 200;
push @made, [ 'deleted', 'D', 'public.patches', 40, 5 ], [ 'deleted', 'D', 'public.patches', 20, 30 * 86400 ];
$t->sql(join('', map { my ($outcome, $by, $relation, $days, $took) = @$_; my $settled = $today - $days * 86400 + 43200.5;
	"INSERT INTO imagekit.history (url, server, outcome, origin, relation, captured_at, settled_at) VALUES ('$ENDPOINT/made.jpg', 'acme', '$outcome', '$by', '$relation', "
	  . 'to_timestamp(' . ($settled - $took) . "), to_timestamp($settled));\n" } @made)
  . q{UPDATE imagekit.backlog SET captured_at = captured_at - interval '3 days' WHERE url LIKE '%/held1.jpg';
	UPDATE imagekit.backlog SET captured_at = captured_at - interval '5 hours' WHERE url LIKE '%/later.jpg'});

# Two audits, the first of them two days ago.
$t->sql(q{CALL imagekit.search_unwatched(); CALL imagekit.audit('acme')});
$t->sql(q{UPDATE imagekit.audit_runs SET compared_at = compared_at - interval '2 days';
	UPDATE imagekit.audit_orphans SET first_seen = first_seen - interval '2 days', last_seen = last_seen - interval '2 days';
	UPDATE imagekit.audit_dangling SET first_seen = first_seen - interval '2 days', last_seen = last_seen - interval '2 days';
	UPDATE imagekit.usage_history SET asked_at = asked_at - interval '2 days', day = day - 2});
$t->sql(q{CALL imagekit.audit('acme')});
wait_for { $t->worker eq '' } 'the worker has left, and has written what it had counted';
my $html = report();
my $page = ImageKit::Page->new($html);

# What is shown ---------------------------------------------------------------------------------------------------------------

is(bytes(join("\n", map { "$_->{filePath} $_->{size}" } @{ $imagekit->_get('files', limit => 1000) })), bytes(join("\n", map { "$_ $size{$_}" } sort keys %size)),
	'the library is what is thought of below');
my ($written) = map { timegm(reverse(split(/[-T:Z]/, $_->attribute('datetime') =~ s/-(\d\d)-/sprintf('-%02d-', $1 - 1)/er))) } ($page->all('header'))[0]->all('time');
cmp_ok(abs(time() - $written), '<', 60, 'written now');
like(bytes(marked(($page->all('header'))[0])->words), qr/^ImageKit report Database postgres \xc2\xb7 written .* UTC \xc2\xb7 \{30\} days State/, 'of which days');

# Days: "29 Nov 2026" of so many days ago.
sub day { my ($ago) = @_; my @day = gmtime($today - 86400 * $ago); return sprintf('%d %s %d', $day[3], (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[ $day[4] ], $day[5] + 1900); }
# The table of a chart of days: ago => [figures].
sub days_are
{
	my ($id, $names, $figures, $name) = @_;
	return is(table($page->by_id($id)), join("\n", join(' | ', 'day', @$names),
		map { my $ago = $_; join(' | ', day($ago), map { "{$_}" } @{ $figures->{$ago} }) } sort { $a <=> $b } grep { grep { $_ } @{ $figures->{$_} } } keys %$figures), $name);
}
sub top { my ($figure) = @_; my ($top) = (map { $_->text } grep { ($_->attribute('x') // '') eq '-8' } $figure->all('text'))[-1]; return $top =~ s/,//gr; }
# Bars are as high as their figures say, and say so.
sub bars_are
{
	my ($id, $names, $figures, $name) = @_;
	my $figure = $page->by_id($id);
	my $top = top($figure);
	my (@drawn, @expected);
	for my $bar ($figure->all('g'))
	{
		my @heights = map { ($_->attribute('class') =~ /f(\d)/)[0] . ' ' . $_->attribute('height') } grep { $_->attribute('class') ne 'hit' } $bar->all('rect');
		push @drawn, join('; ', ($bar->all('title'))[0]->text, @heights);
	}
	for my $ago (sort { $b <=> $a } grep { grep { $_ } @{ $figures->{$_} } } keys %$figures)
	{
		my @amounts = @{ $figures->{$ago} };
		my @there = grep { $amounts[$_] } 0 .. $#amounts;
		push @expected, join('; ', day($ago) . ': ' . join(', ', map { "$amounts[$_] $names->[$_]" } @there),
			map { my $height = sprintf('%.1f', 180 * $amounts[$_] / $top); $_ + 1 . ' ' . ($height < 1 ? 1 : $height) } @there);
	}
	return is(join("\n", @drawn), join("\n", @expected), $name);
}

my %outcomes = (0 => { deleted => scalar($imagekit->deleted), not_found => 1, kept => 1, skipped => 1, cancelled => 2 });
$outcomes{ $_->[3] }{ $_->[0] }++ for grep { $_->[3] < 30 } @made;
my @outcomes = qw(deleted not_found kept skipped cancelled discarded);
my @names = map { s/_/ /r } @outcomes;
my %figures = map { my $day = $outcomes{$_}; ($_ => [ map { $day->{$_} // 0 } @outcomes ]) } keys %outcomes;
days_are('deletions', \@names, \%figures, 'outcomes a day: what the emulator has deleted, and what we have made up');
bars_are('deletions', \@names, \%figures, 'drawn to scale');
my $deleted = 0;
$deleted += $_->{deleted} // 0 for values %outcomes;

my @journal = $imagekit->journal;
my $failed_tries = 0;
$failed_tries += $_->{body} =~ /fileIds/ ? () = $_->{body} =~ /[0-9a-f]{24}/g : 1 for grep { $_->{status} == 500 } @journal;
# The last try of the one, and the one that cannot be read.
days_are('failures', [ 'tried again', 'left to a person' ], { 0 => [ $failed_tries - 1, 2 ] }, 'attempts that failed: by the files of the deletes that the emulator has refused');
bars_are('failures', [ 'tried again', 'left to a person' ], { 0 => [ $failed_tries - 1, 2 ] }, 'drawn to scale');
my @answers = map { my $status = $_; scalar grep { $_->{status} =~ $status } @journal } qr/^429/, qr/^40[13]/, qr/^4(?!29|0[134])/, qr/^5/, qr/^0$/;
days_are('refusals', [ '429, too many', '401 or 403, no access', 'other 4xx', '5xx', 'no whole answer' ], { 0 => \@answers }, "requests that failed: by the emulator's journal");

my @history = rows_of(q{SELECT outcome, origin, relation, (extract(epoch FROM captured_at) * 1000000)::bigint, (extract(epoch FROM settled_at) * 1000000)::bigint FROM imagekit.history});
my %took;
for my $row (grep { $_->[0] eq 'deleted' && $_->[1] =~ /[DUT]/ } @history)
{
	my $took = $row->[4] - $row->[3] - ($row->[2] eq 'public.modules' ? 10_000_000 : 0);
	push @{ $took{ int(($today + 86399 - $row->[4] / 1e6) / 86400) } }, $took < 0 ? 0 : $took;
}
delete @took{ grep { $_ > 29 } keys %took };
sub percentile { my ($share, @sorted) = @_; my $place = POSIX::ceil($share * @sorted); return $sorted[ ($place || 1) - 1 ] / 1e6; }
my %latency = map { my @sorted = sort { $a <=> $b } @{ $took{$_} }; ($_ => [ map { percentile($_, @sorted) } 0.5, 0.95, 0.99 ]) } keys %took;
days_are('latency', [ 'median', '95th percentile', '99th percentile' ], \%latency, 'percentiles of each day, without the grace');
is(scalar($page->by_id('latency')->all('circle')), 3 * keys %latency, 'each of them drawn');

# How many were queued, minute by minute.
my ($first, $until) = (($today - 29 * 86400) / 60, int($written / 60));
my @waiting = (0) x ($until - $first + 1);
my @pending_rows = rows_of(q{SELECT state, (extract(epoch FROM captured_at) * 1000000)::bigint FROM imagekit.pending});
for my $span ((map { [ @$_[ 3, 4 ] ] } grep { $_->[1] ne 'H' } @history), map { [ $_->[1], undef ] } @pending_rows)
{
	my ($since, $till) = map { defined $_ ? int(($_ + 59_999_999) / 60_000_000) : $until + 1 } @$span;
	$waiting[ $_ - $first ]++ for ($since < $first ? $first : $since) .. ($till > $until + 1 ? $until : $till - 1);
}
sub most { my ($from, $to) = @_; my $most = 0; for (@waiting[ $from .. ($to > $#waiting ? $#waiting : $to) ]) { $most = $_ if $_ > $most; } return $most; }
days_are('queue', ['most at once'], { map { ($_ => [ most((29 - $_) * 1440, (30 - $_) * 1440 - 1) ]) } 0 .. 29 }, 'queued: counted minute by minute');
my $queue = $page->by_id('queue');
my ($line) = map { $_->attribute('d') } grep { $_->attribute('class') eq 'l1' } $queue->all('path');
is(join(' ', map { sprintf('%.1f', $_) } $line =~ /(?:M0 |V)([\d.]+)/g), join(' ', map { sprintf('%.1f', 180 - sprintf('%.1f', 180 * most($_ * 60, $_ * 60 + 59) / top($queue))) } 0 .. int($#waiting / 60)),
	'and drawn hour by hour');

my %ages;
for my $row (@pending_rows) { my $age = $written - $row->[1] / 1e6; $ages{ $row->[0] }[ $age < 3600 ? 0 : $age < 86400 ? 1 : $age < 7 * 86400 ? 2 : 3 ]++; }
my $queued = table($page->by_id('waiting'));
for my $state ([ waiting => 'wait for their turn or their grace', 1 ], [ retrying => 'are tried again', 0 ], [ held => 'held: need your word', 6 ], [ failed => 'failed: need a person', 2 ])
{
	my ($name, $words, $count) = @$state;
	my $ages = join(' | ', map { '{' . ($ages{$name}[$_] // 0) . '}' } 0 .. 3);
	like($queued, qr/^\Q$words | {$count} | $ages\E \| /m, "queued now: $name, by age");
}
is(join(' ', map { join(',', map { $_ // 0 } @{ $ages{$_} }[ 0 .. 3 ]) } qw(waiting held failed)), '0,1,0,0 5,0,1,0 2,0,0,0', 'which is as it was made');

my $all = sum(keys %size);
my ($now, $before) = split(/\n/, $t->sql(q{SELECT to_char(compared_at AT TIME ZONE 'UTC', 'FMDD Mon YYYY, HH24:MI') FROM imagekit.audit_runs ORDER BY id DESC}));
# By the end of the day that was counted: today's count is that of yesterday.
my ($usage_now, $usage_before) = map { day($_) . ', 00:00' } 0, 2;
is(table($page->by_id('storage-1')), bytes(join("\n", "time | library | orphans | ImageKit's own count", "$now | {$all} | {" . sum(@orphans) . "} | \x{2013}", "$usage_now | \x{2013} | \x{2013} | {$all}",
	"$before | {$all} | {" . sum(@orphans) . "} | \x{2013}", "$usage_before | \x{2013} | \x{2013} | {$all}")), 'storage: two audits, and ImageKit\'s own count');

# State in words.
my ($acme, $evil) = $page->all('article');
my $evil_relation = 'public.' . identifier($evil_table);
my ($freed, $orphans) = (sum(@orphans), scalar @orphans);
sub facts { my ($article) = @_; return map { bytes($_->words) } map { marked($_)->all('div') } $article->by_class('figures'); }
is(join("\n", facts($acme)), join("\n", "deleted in 30 days {$deleted}", 'waiting {1}', 'held {6}', 'failed {2}', "library {$all} {" . keys(%size) . '} files', "could be freed {$freed} {$orphans} orphans"), 'the account in figures');
is(join("\n", facts($evil)), bytes(join("\n", 'deleted in 30 days {0}', 'waiting {0}', 'held {0}', 'failed {0}', "library \x{2013} not audited", "could be freed \x{2013} not audited")), 'one that was never used');
like(bytes(marked(($acme->by_class('say'))[0])->words), qr/^It works[^.]*\. \{5\} things need a person, the most urgent first\. By the audit of \Q$now\E, \{$freed\} could be freed\.$/, 'and in words');
like(bytes(marked(($evil->by_class('say'))[0])->words), qr/^Nothing is deleted now; .* \{3\} things need a person, .* It was never audited\.$/, 'one that is stopped');
sub tasks { my ($node) = @_; return join("\n", map { bytes(marked($_)->words) } map { $_->all('li') } $node->by_class('todo')); }
my $reason = 'one transaction removed 3 files, more than hold_above (2).';
is(tasks($acme), join("\n", "{3} files of table $evil_relation are held: $reason Delete them Or keep them", "{3} files of table public.modules are held: $reason Delete them Or keep them",
	'{2} files failed and are not tried again: see why. When the reason is mended, try all of them again',
	"{$orphans} files ({$freed}) are used by no row: see the orphans. See what would be deleted, and what stands against it; then dry_run => false",
	'{4} URLs in rows have no file: their images do not show. See the rows, and upload the files or mend the rows. By table'), 'what is to be done, the most urgent first');
like(tasks($evil), qr{\APaused by \S+ since .*: </p><script>alert\(1\)</script>\. What rows drop is queued\. Let it go on\nIt cannot be used as it is: there is no key: .*\nIt was never audited: .*\z}, 'what is to be done for the other');
like(bytes($page->by_id('state')->words), qr/^State To do, for all accounts No orphan is deleted before it is known which columns hold URLs: column body of table public\.notes: not watched; found in 3 rows/,
	'and for all of them');

# Findings.
sub finds { my ($id) = @_; return join("\n", map { bytes(marked($_)->words) } $page->by_id($id)->all('li')); }
my $what = 'All that is known of it Try it again Or give it up, and keep the file';
is(finds('failed') =~ s/ since .*? \xc2\xb7 / since . /gr, bytes("$unreadable queued by hand \x{b7} since . {1} attempt the URL cannot be read with certainty: a broken escape (% without two hex digits) in the path $what\n"
	  . "$ENDPOINT/hopeless.jpg public.patches \x{b7} since . {2} attempts given up after 2 attempts, the last: HTTP 500: Internal server error $what"), 'files that failed');
my $since = day(2);
sub shown { my ($name) = @_; return $name =~ s/\x{202e}/\x{fffd}/r =~ s/\x01/\x{2401}/r; }
is(finds('orphans'), bytes(join("\n", map { ($_ =~ /pdf$/ ? 'pdf ' : '') . shown($_) . " {$size{$_}} \x{b7} uploaded 1 May 2024 no row since $since" } @orphans[ 0 .. 49 ])), 'orphans by size');
my ($summary, $more) = ($page->by_id('orphans')->all('p'))[ 1, -1 ];
says($summary, "{$orphans} files, {$freed}, that no row of a watched table used at $now.", 'how many, and how large');
says($more, 'And {15} more, {' . sum(@orphans[ 50 .. $#orphans ]) . '}.', 'and what is not listed');
is(finds('doubtful'), bytes(join("\n", shown($doubtful[0]) . ' {5000} no URL can be made that means it What the audit knows',
	'/uncertain.jpg {4000} a URL in public.keyless cannot be read with certainty, and may mean it Rows that use it, or may')), 'files in doubt');
is(join("\n", sort split(/\n/, finds('dangling') =~ s/ since .*?, \d\d:\d\d/ since ./gr)), bytes(join("\n", sort "$ENDPOINT/missing.jpg public.patches, row 3, images \x{b7} since . The row",
	"$ENDPOINT/gone%20too.jpg $evil_relation, row (1,comma, 'quote'), picture \x{b7} since . The row", "$ENDPOINT/gone%20too2.jpg $evil_relation, row (2,plain), picture \x{b7} since . The row",
	"$ENDPOINT/gone3.jpg public.keyless, row ctid (0,1), picture \x{b7} since . The row")), 'URLs without a file');
is(finds('columns'), bytes("public.notes.body account acme \x{b7} {3} rows, such as $ENDPOINT/pets/own.jpg not watched Watch it, with all that is watched of its table"), 'columns that are not watched');
sub share { my ($bytes) = @_; return "{$bytes} | {" . (0 + sprintf('%.2f', 100 * $bytes / $all)) . '} |'; }
my %folders;
for my $path (keys %size) { my ($folder) = $path =~ m{^(.*)/[^/]*$}s; push @{ $folders{ $folder eq '' ? '/' : $folder } }, $path; }
my %orphaned = map { $_ => 1 } @orphans;
is(table($page->by_id('shares')), bytes(join("\n", 'owner | files | its share | of the library |  | shared files | waiting',
	# each shared file divided
	'7 | {2} | ' . share($size{'/used.jpg'} + $size{'/shared.jpg'} / 2) . '  | {1} | {0}', '8 | {1} | ' . share($size{'/shared.jpg'} / 2) . '  | {1} | {0}',
	shown($evil_owner) . ' | {1} | ' . share($size{'/pets/own.jpg'}) . '  | {0} | {0}',
	'table | files | its share | of the library |  | shared files | waiting', 'public.patches | {2} | ' . share(sum('/used.jpg', '/shared.jpg')) . '  | {0} | {0}',
	"$evil_relation | {1} | " . share($size{'/pets/own.jpg'}) . '  | {0} | {0}', 'folder | files | bytes | of the library |  | orphans | their bytes',
	map { my @orphans = grep { $orphaned{$_} } @{ $folders{$_} }; "$_ | {" . @{ $folders{$_} } . '} | ' . share(sum(@{ $folders{$_} })) . '  | {' . @orphans . '} | {' . sum(@orphans) . '}' }
	  sort { sum(@{ $folders{$b} }) <=> sum(@{ $folders{$a} }) } keys %folders)), 'who uses what: owners, tables, folders');
is(join("\n", map { bytes($_->text) } grep { !$seen{ $_ + 0 } } $page->all('data')), '', 'there is no other figure on the page');
is(join(' ', map { bytes($_->text =~ s/\x{a0}/_/r) } map { $_->all('data') } ($page->by_id('orphans')->all('li'))[ 0 .. 2 ]), '1.2_MB 878.9_kB 78.1_kB', 'sizes are written for people');

# Whole in itself, and harmless.
is(join(' ', grep { !/^(?:a|article|b|bdi|body|circle|code|data|dd|desc|details|div|dl|dt|figcaption|figure|footer|g|h[123]|head|header|html|img|li|line|meta|nav|ol|p|path|pre|rect|section|small|span|strong|style|summary|svg|table|tbody|td|text|th|thead|time|title|tr|ul)$/ } map { $_->tag } $page->all), '',
	'no script, no form, nothing that loads');
is(join(' ', grep { /^(?:on|style|srcset|action|formaction|xlink|background|data)/ } map { my %attributes = $_->attributes; keys %attributes } $page->all), '', 'no handler, no style of its own');
sub escaped { my ($path) = @_; return join('/', map { bytes($_) =~ s/([^A-Za-z0-9._~-])/sprintf('%%%02X', ord $1)/ger } split(/\//, $path, -1)); }
my @pictures = map { "$origin/acme" . escaped($_) } grep { !/pdf$/ } @orphans[ 0 .. 49 ];
is(join("\n", map { $_->attribute('src') } $page->all('img')), join("\n", map { "$_?tr=w-160,h-160" } @pictures), "thumbnails are ImageKit's, from the account's own endpoint");
is(join("\n", map { $_->attribute('href') } grep { $_->attribute('href') !~ /^#\w+$/ } $page->all('a')), join("\n", @pictures), 'what is linked: the images, and parts of the page');
eval { $page->by_id(substr($_->attribute('href'), 1)) } or fail('there is no ' . $_->attribute('href')) for grep { $_->attribute('href') =~ /^#/ } $page->all('a');
is(join('; ', map { join(' ', map { $_ // '' } @{ { $_->attributes } }{qw(loading width height)}) } ($page->all('img'))[ 0, 1 ]), 'lazy 64 64; lazy 64 64', 'loaded when they are seen');
is(bytes(($page->all('img'))[0]->attribute('alt')), bytes($evil_name), 'with a text instead');
is(join("\n", map { $_->attribute('content') } grep { ($_->attribute('http-equiv') // '') eq 'Content-Security-Policy' } $page->all('meta')),
	"default-src 'none'; img-src $origin/acme/ https://ik.imagekit.io/evil/; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'", 'and nothing else may be loaded');
unlike($html, qr/[^\x0a\x20-\x7e]/, 'the page is ASCII');
is(scalar(grep { $_->attribute('role') } $page->all('svg')), scalar(grep { my $svg = $_; $svg->attribute('role') && 2 == grep { /^(?:title|desc)$/ } map { ref $_ ? $_->tag : '' } @{ $svg->{children} } } $page->all('svg')), 'each chart has its text');
is(bytes(($page->by_id('deletions')->all('desc'))[0]->text),
	"Bars, one for each day, from " . day(29) . ' to ' . day(0) . '. In all: ' . join(', ', map { my $i = $_; my $sum = 0; $sum += $_->[$i] for values %figures; "$sum $names[$i]" } 0 .. 5) . ". Most on " . join(': ', @{ (sort { $b->[1] <=> $a->[1] || $b->[2] <=> $a->[2] } map { my $sum = 0; $sum += $_ for @{ $figures{$_} }; [ day($_), $sum, $_ ] } keys %figures)[0] }[ 0, 1 ]) . '.', 'a text instead of bars');

# What it says to run -----------------------------------------------------------------------------------------------------------

my $only = page_of("'acme', 1");
is(join(' ', scalar($only->all('article')), scalar($only->by_id('orphans')->all('li')), scalar($only->by_class('more')), ($only->all('title'))[0]->text), "1 $orphans 0 ImageKit report: acme", 'of one account: more of it');
is(join("\n", map { join(' ', @$_) } $only->by_id('deletions')->rows), join("\n", 'day deleted not found kept skipped cancelled discarded', day(0) . ' {5} {1} {1} {1} {2} {0}'), 'and of one day');
my ($recipe) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^(-- may have the report.*?)^--/ms or die 'README has no recipe for the report';
$t->sql("CREATE ROLE reader; $recipe");
is($t->sql('SET ROLE reader; BEGIN READ ONLY; SELECT imagekit.report() LIKE \'<!DOCTYPE html>%orphans%\''), 't', 'for a role that may do nothing else, and changes nothing');

# Not the ones that take back what was done.
my %spared = ("SELECT imagekit.discard(relation => " . literal($evil_relation) . ", server => 'acme');" => 1, "SELECT imagekit.approve(relation => 'public.modules', server => 'acme');" => 1,
	'SELECT imagekit.discard(url => ' . literal("$ENDPOINT/hopeless.jpg") . ');' => 1, 'SELECT imagekit.retry(url => ' . literal($unreadable) . ');' => 1);
my @statements = grep { !$spared{ $_->[1] } } $page->statements;
is(scalar(keys %spared) + @statements, scalar($page->statements), 'those that are spared are there as well');
$imagekit->no_faults;
my %said;
for my $statement (@statements)
{
	my ($for, $sql) = @$statement;
	my ($status, $output, $errors) = $node->psql('postgres', bytes($sql), extra_params => [ '-v', 'VERBOSITY=terse' ]);
	fail(bytes("$for: $sql")), diag $errors if $status != 0;
	$said{$sql} = $output;
}
sub said { my ($pattern) = @_; return join("\n", map { $said{$_} } sort grep { $_ =~ $pattern } keys %said); }
eventually { join(' ', grep { /held|hopeless/ } $imagekit->files) } '/held1.jpg /held2.jpg /held3.jpg', 'approve() and retry(): these are deleted, and what discard() is for is not';
is($t->sql(q{SELECT string_agg(regexp_replace(url, '.*/', ''), ' ' ORDER BY url) FROM imagekit.history WHERE outcome = 'discarded' AND captured_at > now() - interval '4 days' AND url !~ 'made'}),
	"held1.jpg held2.jpg held3.jpg no%zz'&.jpg", 'which is given up');
is(said(qr/^SELECT \* FROM public.patches/), "3|{$ENDPOINT/missing.jpg}||8", 'the row of a URL that has no file');
is(said(qr/references.*gone%20too\.jpg/), "$evil_relation|(1,comma, 'quote')|picture|t|t" =~ s/^public\.//r, 'by its URL where its key has a comma in it');
is(said(qr/ a = '2' AND b = 'plain'/), "2|plain|$ENDPOINT/gone%20too2.jpg|", 'by a key of two columns');
is(said(qr/ctid/), "keyless|$ENDPOINT/gone3.jpg", 'by where it lies');
is(said(qr/imagekit.references.*uncertain/), 'keyless||picture|f|t' =~ s/\|\|/|ctid (0,2)|/r, 'rows that may use a file in doubt');
like(said(qr/imagekit.doubtful/), qr/^acme\|67c6.*no URL can be made that means it$/s, 'or what is known of it');
my @rows = map { [ split(/\|/) ] } split(/\n/, said(qr/delete_orphans/));
is(join(', ', map { "@$_[0 .. 2]" } grep { $_->[1] } @rows), "would be queued $orphans $freed, left: in doubt 2 " . sum(@doubtful), 'delete_orphans(): what would be deleted');
is(scalar(split(/\n/, said(qr/FROM imagekit.orphans/))), $orphans, 'all orphans');
like(said(qr/imagekit.explain/), qr/reading\|library file.*reading\|refused/s, 'all that is known of a file');
is($t->sql('SELECT count(*) FROM imagekit.pauses'), '0', 'resume()');
is($t->sql("SELECT sources FROM imagekit.watched WHERE relation = 'notes'::regclass"), '{body}', 'watch()');

# Of a database that sends nothing, and was never searched.
$t->sql('SELECT imagekit.disable(); TRUNCATE imagekit.searched_tables, imagekit.url_columns');
my @tasks = map { [ $_->statements ] } (page_of()->by_class('todo'))[0]->all('li');
is(join("\n", map { map { $_->[1] } @$_ } @tasks), "SELECT imagekit.enable();\nCALL imagekit.search_unwatched();", 'what is to be done for all accounts');
$t->sql($_->[0][1]) for @tasks;
like(page_of()->by_id('state')->words, qr/^State (?!To do)/, 'and when it is done, nothing is');

# Orphans that are gone or queued by now.
$t->sql("SELECT imagekit.delete_file('$origin/acme/doc.pdf')");
$t->sql(q{INSERT INTO imagekit.backlog (url, file_id, server, transaction, relation, role, origin, captured_at, due_at)
	SELECT o.url, o.file_id, s.oid, pg_current_xact_id(), 0, 10, 'A', now(), now() + interval '1 hour' FROM imagekit.orphans o JOIN pg_foreign_server s ON s.srvname = o.server WHERE o.path = '/many/f60.jpg'});
$page = page_of("'acme'");
says(($page->by_id('orphans')->all('p'))[1], '{' . ($orphans - 2) . '} files, {' . ($freed - $size{'/doc.pdf'} - $size{'/many/f60.jpg'}) . "}, that no row of a watched table used at $now; of the {$orphans} that the audit found, "
	  . 'the others were deleted since, or are queued.', 'orphans that are gone or queued by now are none');

# In a browser ------------------------------------------------------------------------------------------------------------------

SKIP:
{
	my $browser = ImageKit::Browser->new;
	fail('continuous integration has Chromium') if !$browser && ($ENV{CI} // '') eq 'true';
	skip('there is no Chromium: test/install-dependencies fetches it', 1) unless $browser;

	# The page as it is, but for what its policy is to stop.
	my $dom = $browser->dom($html =~ s{</body>}{<script>document.title = 'hacked'</script><img src="$origin/elsewhere.png" alt=""></body>}r, height => 9000);
	like($dom, qr/<title>ImageKit report<\/title>/, 'a script would not run');
	my %asked = map { $_ => 1 } $images->asked;
	is(join("\n", grep { !$asked{"GET " . s/\Q$origin\E//r . '?tr=w-160,h-160'} } @pictures[ 0 .. 5 ]), '', 'thumbnails are asked for');
	is(join("\n", grep { !m{^GET /acme/.*\?tr=w-160,h-160$} } keys %asked), '', 'and nothing else');

	my @shown = ([ 1200, 'light' ], [ 360, 'light' ], [ 360, 'dark' ]);
	my @found = $browser->measure($html, @shown);
	for my $n (0 .. $#shown)
	{
		my ($width, $colours) = @{ $shown[$n] };
		my ($name, %seen) = ("$width wide, $colours", %{ $found[$n] });
		is($seen{inner}, $width, "$name: as wide as that");
		cmp_ok($seen{scroll}, '<=', $width, "$name: it does not scroll sideways");
		cmp_ok($seen{contrast}, '>=', 4.5, "$name: all of $seen{texts} texts can be read") or diag $seen{where};
		is("$seen{overlapping} $seen{broken}", '0 0', "$name: labels stand apart, images show");
		is($seen{background}, $colours eq 'dark' ? 'rgb(18, 21, 24)' : 'rgb(246, 247, 248)', "$name: the colours of it");
	}
	my $picture = $browser->picture($html, width => 360, height => 800, dark => 1);
	is(join(' ', unpack('x16 N N', $picture)), '360 800', 'and a picture can be made of it');
}

done_testing();
