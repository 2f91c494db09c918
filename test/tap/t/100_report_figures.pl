# More figures of imagekit.report(), against what this test has done itself and what the emulator's journal says: how long deletions
# took, what failed, ImageKit's own count, what is left out of long lists, two accounts apart from each other; and what charts say of
# themselves in words.

use strict;
use warnings;

use ImageKit::Page;
use ImageKit::ReportFigures;
use ImageKit::Test;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $OTHER = 'https://ik.imagekit.io/other';
my %endpoints = (acme => $ENDPOINT, other => $OTHER);
my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');

my $today = begin_of_today();

sub page_of { my ($arguments) = @_; return ImageKit::Page->new($t->sql('SELECT imagekit.report(' . ($arguments // '') . ')') . "\n"); }

# How long a deletion takes ---------------------------------------------------------------------------------------------------

# What ImageKit says of itself, which is not what the library has.
my %usage = (
	acme => { mediaLibraryStorageBytes => 9_876_543, bandwidthBytes => 734_003_201, originalCacheStorageBytes => 55_555, videoProcessingUnitsCount => 77, extensionUnitsCount => 13 },
	other => { mediaLibraryStorageBytes => 1_234, bandwidthBytes => 5_000_000_000, originalCacheStorageBytes => 6, videoProcessingUnitsCount => 7, extensionUnitsCount => 8 });
$imagekit->accounts(account => 'other', keys => ['private_other']);
$imagekit->fault(kind => 'status', status => 200, account => $_, path => '/accounts/usage$', count => 0, json => $usage{$_}) for keys %usage;
sub seed { my ($account, @files) = @_; return @{ $imagekit->_post('seed', { account => $account, files => \@files })->{fileIds} }; }
$t->sql(qq{
	ALTER SERVER acme OPTIONS (ADD hold_fraction 'off', ADD hold_above 'off');
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}', hold_fraction 'off', hold_above 'off');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other');
	CREATE TABLE graced (image text); SELECT imagekit.watch('graced', '{image}', grace => '2 seconds')});

# A row of each, and its images; who deletes them knows when the statement was begun, and when it was over.
my %groups;
sub group
{
	my ($name, $account, $files) = @_;
	my @ids = seed($account, map { { filePath => "/$name$_.jpg", size => 100 } } 1 .. $files);
	my $urls = "SELECT '$endpoints{$account}/$name' || n || '.jpg' FROM generate_series(1, $files) n";
	$t->sql($name eq 'graced' ? "INSERT INTO graced $urls" : "INSERT INTO patches VALUES (@{[ 1 + keys %groups ]}, ARRAY($urls))");
	$groups{$name} = { account => $account, files => $files, ids => \@ids, grace => $name eq 'graced' ? 2 : 0, row => 1 + keys %groups };
	return;
}
sub drop
{
	my ($name) = @_;
	my $group = $groups{$name};
	$group->{begun} = time();
	$t->sql($name eq 'graced' ? 'DELETE FROM graced' : "DELETE FROM patches WHERE id = $group->{row}");
	$group->{over} = time();
	return;
}
sub recorded
{
	my ($name) = @_;
	my $group = $groups{$name};
	wait_for { $t->sql("SELECT count(*) FROM imagekit.history WHERE url ~ '/$name\[0-9]+.jpg\$'") eq $group->{files} } "$name: all is settled";
	$group->{recorded} = time();
	return;
}
group(@$_) for [ 'reset', 'acme', 1 ], [ 'key', 'acme', 1 ], [ 'error', 'acme', 1 ], [ 'odd', 'acme', 1 ], [ 'graced', 'acme', 10 ], [ 'slowest', 'acme', 4 ], [ 'slow', 'acme', 36 ], [ 'quick', 'acme', 50 ], [ 'others', 'other', 3 ];
# The first request goes over a new connection: libcurl repeats one by itself when a connection that it used before is broken.
for my $fault ([ 'reset', kind => 'reset_before', method => 'GET' ], [ 'key', kind => 'forbidden', method => 'GET' ], [ 'error', kind => 'text_500', method => 'DELETE' ],
	[ 'odd', kind => 'status', status => 418, json => { message => 'A teapot.' }, method => 'GET' ])
{
	my ($name, @fault) = @$fault;
	$imagekit->fault(@fault);
	drop($name);
	recorded($name) if $name ne 'odd';
}
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE state = 'failed'}) } 'odd: it is left to a person';
delete $groups{odd};
# The longer ones are still under way when the others are begun.
$imagekit->fault(kind => 'stall', method => 'DELETE', contains => $groups{$_->[0]}{ids}[0], ms => $_->[1]) for [ slowest => 3000 ], [ slow => 1500 ];
drop('graced');
for my $name ('slowest', 'slow')
{
	my $stalled = $imagekit->stalled;
	drop($name);
	wait_for { $imagekit->stalled > $stalled } "$name: it is under way";
}
drop($_) for 'quick', 'others';
recorded($_) for 'quick', 'others', 'slow', 'graced', 'slowest';
wait_for { $t->worker eq '' } 'the worker has left, and has written what it had counted';

my %answered;
for my $delete (grep { @{ $_->{removed} } } $imagekit->journal, $imagekit->journal(account => 'other'))
{
	$answered{$_} = $delete->{wall_us} / 1e6 + $delete->{duration_ms} / 1000 for @{ $delete->{removed} };
}
# A deletion takes from some moment of the statement to one between ImageKit's answer and when we see it recorded: less and more than it
# cannot have been. So it is with the percentiles of all, for each is one of them.
my (%least, %most);
for my $group (values %groups)
{
	my @times = map { [ $answered{$_} - $group->{over} - $group->{grace}, $group->{recorded} - $group->{begun} - $group->{grace} ] } @{ $group->{ids} };
	for my $of ($group->{account}, 'both')
	{
		push @{ $least{$of} }, map { $_->[0] } @times;
		push @{ $most{$of} }, map { $_->[1] } @times;
	}
}
my %pages = (acme => page_of(q{'acme'}), other => page_of(q{'other'}), both => page_of());
for my $of ('acme', 'other', 'both')
{
	my ($head, @days) = $pages{$of}->by_id('latency')->rows;
	is(join(' | ', @$head), 'day | median | 95th percentile | 99th percentile', "latency, $of: what is shown");
	is(scalar(@days) . " $days[0][0]", '1 ' . day(0), "latency, $of: of one day");
	my @shown = map { /\{(.*)\}/ } @{ $days[0] }[ 1 .. 3 ];
	for my $n (0 .. 2)
	{
		my $share = (0.5, 0.95, 0.99)[$n];
		my ($least, $most) = map { percentile($share, @$_) } $least{$of}, $most{$of};
		note sprintf '%s, %g: %.3f s, of at least %.3f and at most %.3f', $of, $share, $shown[$n], $least, $most;
		ok($shown[$n] >= $least && $shown[$n] <= $most, "latency, $of: $head->[$n + 1], by the times of statements and answers");
	}
	dots_are($pages{$of}->by_id('latency'), "latency, $of");
	if ($of ne 'other')
	{
		cmp_ok($shown[1], '>', $shown[0], "latency, $of: some took longer");
		cmp_ok($shown[2], '>=', 3, "latency, $of: as long as ImageKit has let them wait");
	}
	my @seconds = ([ 0.001, '1 ms' ], [ 0.01, '10 ms' ], [ 0.1, '100 ms' ], [ 1, '1 s' ], [ 10, '10 s' ], [ 60, '1 min' ], [ 600, '10 min' ]);
	my ($from) = grep { $seconds[$_][0] <= $shown[0] } reverse 0 .. $#seconds;
	my ($to) = grep { $_ > $from && $seconds[$_][0] >= $shown[2] } 0 .. $#seconds;
	chart_says($pages{$of}, 'latency', title => 'How long a deletion takes', label => 'time taken, logarithmic', scale => [ map { $_->[1] } @seconds[ $from .. $to ] ], days => [ first_days(30) ],
		text => 'Lines on a logarithmic scale: median, 95th and 99th percentile of each day on which files were deleted, ' . scalar(@{ $least{$of} }) . ' in all.');
}

# What failed -----------------------------------------------------------------------------------------------------------------

my %refusals;
for my $account ('acme', 'other')
{
	my @statuses = map { $_->{status} } $imagekit->journal(account => $account);
	$refusals{$account} = [ map { my $status = $_; scalar grep { $_ =~ $status } @statuses } qr/^429/, qr/^40[13]/, qr/^4(?!29|0[134])/, qr/^5/, qr/^0$/ ];
}
is("@{ $refusals{acme} }, @{ $refusals{other} }", '0 1 1 1 1, 0 0 0 0 0', 'ImageKit has refused what it was told to');
my @kinds = ('429, too many', '401 or 403, no access', 'other 4xx', '5xx', 'no whole answer');
my $whole_time = 'Bars, one for each day, from ' . day(29) . ' to ' . day(0) . '.';
for my $of ('acme', 'both')
{
	my @counts = @{ $refusals{acme} };
	is(join("\n", table($pages{$of}->by_id('refusals'))), join("\n", join(' | ', 'day', @kinds), join(' | ', day(0), map { "{$_}" } @counts)), "refusals, $of: of each kind");
	chart_says($pages{$of}, 'refusals', title => 'Requests that failed', label => 'requests a day', scale => [ scale_of_counts(sum(@counts)) ], days => [ first_days(30) ],
		text => "$whole_time In all: " . join(', ', map { "$counts[$_] $kinds[$_]" } 0 .. 4) . '. Most on ' . day(0) . ': ' . sum(@counts) . '.');
	chart_says($pages{$of}, 'failures', title => 'Failures', label => 'attempts a day', scale => [ scale_of_counts(3) ], days => [ first_days(30) ],
		text => "$whole_time In all: 2 tried again, 1 left to a person. Most on " . day(0) . ': 3.');
}
like($pages{other}->by_id($_)->words, qr/No (?:request|attempt) failed in this time\./, "$_: not the other's") for 'refusals', 'failures';
my %files = (acme => 103, other => 3, both => 106);
is(join("\n", table($pages{$_}->by_id('deletions'))), join("\n", 'day | deleted | not found | kept | skipped | cancelled | discarded', day(0) . " | {$files{$_}} | {0} | {0} | {0} | {0} | {0}"), "deletions, $_") for sort keys %files;

# What is stored, and by whom -------------------------------------------------------------------------------------------------

# More than are listed of each: owners, tables, folders, files in doubt, columns. Each of a size of its own. And the one that has failed.
my %size = ('/odd1.jpg' => 100);
$size{"/owned/$_.jpg"} = 10_000 + $_ for 1 .. 53;
$size{"/tabled/$_.jpg"} = 20_000 + $_ for 1 .. 53;
$size{"/folder$_/orphan.jpg"} = 30_000 + $_ for 1 .. 31;
$size{"/doubtful/a\x01$_.jpg"} = 40_000 + $_ for 1 .. 53;
%size = (%size, '/shared/tables.jpg' => 51_000, '/shared/owners.jpg' => 62_001, '/waiting/1.jpg' => 70_000, '/waiting/2.jpg' => 140_000, '/waiting/3.jpg' => 280_000, '/lent.jpg' => 90_000);
my %others_size = ('/used.jpg' => 1_100, '/orphan.jpg' => 2_300, "/\x01.jpg" => 4_700);
seed('acme', map { { filePath => $_, size => $size{$_}, @old } } grep { !/odd/ } sort keys %size);
seed('other', map { { filePath => $_, size => $others_size{$_}, @old } } sort keys %others_size);
$t->sql(qq{
	DROP TABLE graced;
	SET client_min_messages = error;
	ALTER TABLE patches ADD owner text;
	CREATE TABLE lent (id int PRIMARY KEY, image text, owner text);
	SELECT imagekit.watch('patches', '{images, schema.imageUrl}', owner => 'owner'), imagekit.watch('lent', '{image}', owner => 'owner', grace => '1 hour');
	DO \$\$ BEGIN
		FOR n IN 1 .. 53 LOOP
			EXECUTE format('CREATE TABLE many%s (image text)', n);
			PERFORM imagekit.watch(format('many%s', n)::regclass, '{image}');
			EXECUTE format('INSERT INTO many%s VALUES (%L)', n, '$ENDPOINT/tabled/' || n || '.jpg');
		END LOOP;
		EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg(format('c%s text', n), ', ') FROM generate_series(1, 53) n) || ')';
		EXECUTE 'INSERT INTO wide VALUES (' || (SELECT string_agg(quote_literal('$ENDPOINT/tabled/1.jpg'), ', ') FROM generate_series(1, 53) n) || ')';
	END \$\$;
	INSERT INTO many1 VALUES ('$ENDPOINT/shared/tables.jpg');
	INSERT INTO many2 VALUES ('$ENDPOINT/shared/tables.jpg');
	INSERT INTO patches SELECT n, ARRAY['$ENDPOINT/owned/' || n || '.jpg'], NULL, 'owner' || n FROM generate_series(1, 53) n;
	INSERT INTO patches SELECT 100 + n, '{$ENDPOINT/shared/owners.jpg}', NULL, 'owner' || n FROM generate_series(1, 2) n;
	INSERT INTO modules VALUES (1, '{$OTHER/used.jpg}');
	INSERT INTO lent SELECT n, '$ENDPOINT/waiting/' || n || '.jpg', 'owner' || CASE n WHEN 3 THEN 1 ELSE 53 END FROM generate_series(1, 3) n;
	INSERT INTO lent VALUES (4, '$ENDPOINT/lent.jpg', NULL);
	CALL imagekit.audit('acme');
	DELETE FROM lent WHERE id < 4;
	CALL imagekit.audit('acme');
	CALL imagekit.audit('other');
	CALL imagekit.search_unwatched()});
%pages = (acme => page_of(q{'acme'}), other => page_of(q{'other'}), both => page_of());

my ($all, $others) = (sum(values %size), sum(values %others_size));
my @orphaned = grep { /orphan/ } keys %size;
my ($freed, $doubted) = (sum(@size{@orphaned}), sum(@size{ grep { /doubtful/ } keys %size }));
is($t->sql('SELECT server, files, bytes, counted_bytes, unattributed_bytes, orphan_files, orphan_bytes, doubtful_files, doubtful_bytes, pending_files, pending_bytes FROM imagekit.storage ORDER BY server'),
	join("\n", join('|', 'acme', scalar(keys %size), $all, 9_876_543, 9_876_543 - $all, 31, $freed, 53, $doubted, 4, 490_100), join('|', 'other', 3, $others, 1_234, 1_234 - $others, 1, 2_300, 1, 4_700, 0, 0)),
	'what ImageKit counts, and what of it no file of the library accounts for');
is($t->sql(q{SELECT server, day = (now() AT TIME ZONE 'UTC')::date - 1, library_bytes, bandwidth_bytes, cache_bytes, video_units, extension_units, problem FROM imagekit.usage_history ORDER BY server}),
	"acme|t|9876543|734003201|55555|77|13|\nother|t|1234|5000000000|6|7|8|", 'all that ImageKit counts is kept');
my %compared = map { split(/\|/, $_, 2) } split(/\n/, $t->sql(q{SELECT server || '|' || string_agg(extract(epoch FROM compared_at)::text, '|' ORDER BY id DESC) FROM imagekit.audits GROUP BY server}));
my @storages = ([ acme => 'acme', 1, $all, $freed ], [ other => 'other', 1, $others, 2_300 ], [ both => 'acme', 1, $all, $freed ], [ both => 'other', 2, $others, 2_300 ]);
for my $storage (@storages)
{
	my ($of, $account, $place, $library, $orphans) = @$storage;
	my $counted = $usage{$account}{mediaLibraryStorageBytes};
	my @times = split(/\|/, $compared{$account});
	is(join("\n", table($pages{$of}->by_id("storage-$place"))), join("\n", bytes("time | library | orphans | ImageKit's own count"),
		(map { at($_) . " | {$library} | {$orphans} | " . bytes("\x{2013}") } @times), at($today) . bytes(" | \x{2013} | \x{2013} | {$counted}")), "storage, $of: $account as its audits and ImageKit say");
	next if $of eq 'both';
	dots_are($pages{$of}->by_id("storage-$place"), "storage, $of");
	chart_says($pages{$of}, "storage-$place", title => "Storage: $account", label => 'stored', scale => [ scale_of_bytes($library > $counted ? $library : $counted) ], days => [ first_days(30) ],
		text => "Lines: the library, its orphans and ImageKit's own count, at " . (@times + 1) . ' times from ' . day(0) . ' to ' . day(0) . '.');
}

# The account in figures, and the two apart from each other.
sub figures { my ($article) = @_; return join(', ', map { bytes($_->words) } map { $_->all('div') } $article->by_class('figures')); }
my %cards = (
	acme => "deleted in 30 days {103}, waiting {3}, held {0}, failed {1}, library {$all} {" . keys(%size) . "} files, could be freed {$freed} {31} orphans",
	other => "deleted in 30 days {3}, waiting {0}, held {0}, failed {0}, library {$others} {3} files, could be freed {2300} {1} orphan");
is(join("\n", map { figures($_) } $pages{both}->all('article')), "$cards{acme}\n$cards{other}", 'each account has its own figures');
is(join("\n", map { figures($_) } $pages{$_}->all('article')), $cards{$_}, "also where it is alone: $_") for 'acme', 'other';
my $waits = 'wait for their turn or their grace';
like((table($pages{ $_->[0] }->by_id('waiting')))[1], qr/^$waits \| \{$_->[1]\} \| \{$_->[1]\} \| \{0\} \| \{0\} \| \{0\} \|/, "queued now: of $_->[0]") for [ acme => 3 ], [ other => 0 ], [ both => 3 ];
is(join(' ', map { scalar $_->all('li') } map { $pages{both}->by_id($_)->by_class('card') } 'orphans', 'doubtful'), '31 1 50 1', 'and its own findings');

# What is left out of lists.
sub share { my ($bytes) = @_; return "{$bytes} | {" . (0 + sprintf('%.2f', 100 * $bytes / $all)) . '} | '; }
my ($owners, $tables, $folders) = $pages{acme}->by_id('shares')->by_class('scroll');
my @more = more($pages{acme}->by_id('shares'));
# [name, its share, figures before it, figures behind it]
sub shares_are
{
	my ($node, $most, $more, $heads, $name, @shares) = @_;
	@shares = sort { $b->[1] <=> $a->[1] || $a->[0] cmp $b->[0] } @shares;
	my @left = splice(@shares, $most);
	is(join("\n", table($node)), join("\n", $heads, map { "$_->[0] | {$_->[2]} | " . share($_->[1]) . " | $_->[3]" } @shares), "$name: the largest");
	return is($more, 'And {' . @left . '} more, {' . sum(map { $_->[1] } @left) . '}.', "$name: and the others");
}
shares_are($owners, 50, $more[0], 'owner | files | its share | of the library |  | shared files | waiting', 'owners', map {
	["owner$_", $size{"/owned/$_.jpg"} + ($_ > 2 ? 0 : POSIX::floor($size{'/shared/owners.jpg'} / 2 + 0.5)), $_ > 2 ? 1 : 2, ($_ > 2 ? '{0}' : '{1}') . ' | ' . ($_ == 1 ? '{1}' : $_ == 53 ? '{2}' : '{0}') ] } 1 .. 53);
shares_are($tables, 50, $more[1], 'table | files | its share | of the library |  | shared files | waiting', 'tables',
	(map { [ "public.many$_", $size{"/tabled/$_.jpg"} + ($_ > 2 ? 0 : $size{'/shared/tables.jpg'} / 2), $_ > 2 ? 1 : 2, ($_ > 2 ? '{0}' : '{1}') . ' | {0}' ] } 1 .. 53),
	[ 'public.patches', $size{'/shared/owners.jpg'} + sum(map { $size{"/owned/$_.jpg"} } 1 .. 53), 54, '{0} | {0}' ], [ 'public.lent', $size{'/lent.jpg'}, 1, '{0} | {3}' ]);
my %folder;
push @{ $folder{ $_ =~ s{/[^/]*$}{}r || '/' } }, $_ for keys %size;
shares_are($folders, 30, $more[2], 'folder | files | bytes | of the library |  | orphans | their bytes', 'folders',
	map { my @inside = @{ $folder{$_} }; my @lost = grep { /orphan/ } @inside; [ $_, sum(@size{@inside}), scalar @inside, '{' . @lost . '} | {' . sum(@size{@lost}) . '}' ] } keys %folder);
# Of the page with both accounts, the other's.
is(join("\n", table((($pages{both}->by_id('shares')->by_class('card'))[1]->by_class('scroll'))[0])), "table | files | its share | of the library |  | shared files | waiting\npublic.modules | {1} | {1100} | {13.58} |  | {0} | {0}", 'each account has tables of its own');
is(join('', more($pages{acme}->by_id('doubtful'))), 'And {3} more, {' . sum(40_001 .. 40_003) . '}.', 'files in doubt that are not listed, and their bytes');
is(scalar($pages{acme}->by_id('columns')->all('li')) . ' ' . join('', more($pages{acme}->by_id('columns'))), '50 And {3} more.', 'columns that are not listed');
like(($pages{acme}->by_class('todo'))[0]->words, qr/^No orphan is deleted before it is known which columns hold URLs: column c1 of table public\.wide: not watched; found in 1 row, .* And \{52\} more\. See the columns\./,
	'and what stands against deletions');

# What waits -------------------------------------------------------------------------------------------------------------------

sub tasks { return map { $_->words } map { $_->all('li') } map { $_->by_class('todo') } (page_of(q{'acme'})->all('article'))[0]; }
sub task { my ($pattern) = @_; return join('', grep { $_ =~ $pattern } tasks()); }
# For a transaction that is not over. The files are in a drain's hands now and then.
seed('acme', map { { filePath => "/open$_.jpg", size => 1, @old } } 1 .. 2);
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe("INSERT INTO modules VALUES (2, '{$ENDPOINT/open1.jpg, $ENDPOINT/open2.jpg}')");
$t->sql("INSERT INTO patches VALUES (200, '{$ENDPOINT/open1.jpg, $ENDPOINT/open2.jpg}'); DELETE FROM patches WHERE id = 200");
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE last_error LIKE 'waits: a row of %'}) eq '2' } 'they wait';
is(task(qr/not over/), '', 'a short wait is no task for a person');
my $since = int(time()) - 3_600;
eventually { $t->sql("UPDATE imagekit.backlog SET captured_at = to_timestamp($since) WHERE url ~ '/open'"); task(qr/not over/) }
  '{2} files wait since ' . at($since) . ' for transactions that are not over. See which', 'but a long one: how many wait, and since when';
$session->query_safe('COMMIT');
$session->quit;
eventually { task(qr/not over/) } '', 'until the transaction is over';
# For a table that cannot be searched.
seed('acme', map { { filePath => "/unproven$_.jpg", size => 1, @old } } 1 .. 3);
$t->watch_unsearchable;
$t->sql(qq{
	INSERT INTO patches VALUES (201, '{$ENDPOINT/unproven1.jpg, $ENDPOINT/unproven2.jpg, $ENDPOINT/unproven3.jpg}');
	DELETE FROM patches WHERE id = 201});
eventually { task(qr/cannot tell/) } qr/^\{3\} files wait: cannot tell whether table public\.parted still uses it: .*\. Nothing is deleted until that table can be searched: call imagekit\.watch\(\) again with its sources as they are now, or imagekit\.unwatch\(\)\. See what is watched$/,
  'how many wait for a table that cannot be searched';

done_testing();
