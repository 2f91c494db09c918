# The rules of delete_orphans() against a second telling of them, over random libraries: each round makes up audits, asks for a
# dry run and for the deed, and rolls back. IMAGEKIT_SEED=n IMAGEKIT_ROUNDS=n for others.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{IMAGEKIT_ROUNDS} // 250;
my $seed = $ENV{IMAGEKIT_SEED} // 1;
srand($seed);

my $t = ImageKit::Test->new;
# Whoever runs a statement that may fail gets its words.
$t->sql(q{
	CALL imagekit.search_unwatched();
	UPDATE imagekit.searched_tables SET searched_at = searched_at + interval '1 hour';
	UPDATE imagekit.watch_config SET since = '2020-01-01';
	CREATE FUNCTION words_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN EXECUTE statement; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END $$});

sub pick { return $_[ int(rand(@_)) ]; }
sub chance { return rand() < $_[0]; }

# One library --------------------------------------------------------------------------------------------------------------

# Ages in hours, an hour away from any limit, so that what the test takes does not matter.
sub library
{
	my %library = (older => pick(24, 48, 168), apart => pick(0, 24, 72), max_files => pick(0, 5, 10, 50, 10000), max_fraction => pick(0, 0.05, 0.2, 0.5, 1));
	for my $folder (0 .. int(rand(4)))
	{
		my $files = pick(1, 5, 9, 10, 11, 30);
		my $orphans = chance(0.3) ? $files : int(rand($files + 1));
		my $alike = chance(0.6);  # all orphans of it old, and found twice
		for my $i (1 .. $orphans)
		{
			my $created = $alike ? 5000 : pick(1, 25, 47, 49, 167, 169, 5000) + 0.5;
			my $updated = $alike || chance(0.7) ? $created : pick(grep { $_ <= $created } 0.5, 25.5, 100.5);
			push @{ $library{orphans} }, {
				path => "/f$folder/$i.jpg", folder => $folder, size => int(rand(1000)), created => $created, updated => $updated // $created,
				seen_for => $alike ? 100 : pick(0, 0, 1, 23, 25, 71, 73), doubt => !$alike && chance(0.1),
				protected => !$alike && chance(0.1), queued => chance($alike ? 0.2 : 0.05) };
		}
		$library{folders}{$folder} = $files;
	}
	$library{files} = 0;
	$library{files} += $_ for values %{ $library{folders} };
	$library{files} += pick(0, 100, 1000);  # in other folders, all used
	for my $table (qw(patches modules))
	{
		my @before = map { pick(0, 9, 10, 100) } 1 .. int(rand(3));
		$library{uses}{$table} = { before => \@before, now => pick(0, 4, 5, 50, 100) };
	}
	$library{approve} = pick('none', 'none', 'right', 'wrong');
	$library{stale} = chance(0.1);
	$library{other_account} = chance(0.1);
	return \%library;
}

# What the rules say of it: README, "Cleaning up an existing library".
sub expected
{
	my ($library) = @_;
	my %expected = (candidates => 0, bytes => 0, approvable => {}, firm => {});
	my ($earlier, %emptied, %emptied_now) = (0);
	for my $orphan (@{ $library->{orphans} // [] })
	{
		next if $orphan->{doubt};
		if ($orphan->{queued})
		{
			$earlier++;
			$emptied{ $orphan->{folder} }++;
			next;
		}
		next if $orphan->{protected};
		next if $orphan->{updated} < $library->{older} || $orphan->{created} < $library->{older};
		next if $orphan->{seen_for} == 0 || $orphan->{seen_for} < $library->{apart};
		$expected{candidates}++;
		$expected{bytes} += $orphan->{size};
		$emptied{ $orphan->{folder} }++;
		$emptied_now{ $orphan->{folder} } = 1;
	}
	my $used = 0;
	for my $table (keys %{ $library->{uses} })
	{
		my ($most) = sort { $b <=> $a } @{ $library->{uses}{$table}{before} }, 0;
		my $now = $library->{uses}{$table}{now};
		$used += $now;
		$expected{approvable}{"shrunk $table"} = 1 if $most >= 10 && 2 * $now < $most;
	}
	# In slices it would be as much.
	my $all = $expected{candidates} == 0 ? 0 : $expected{candidates} + $earlier;
	$expected{approvable}{share} = 1 if $all > $library->{max_fraction} * $library->{files};
	$expected{approvable}{count} = 1 if $all > $library->{max_files};
	for my $folder (keys %emptied_now)
	{
		$expected{approvable}{"emptied /f$folder"} = 1 if $library->{folders}{$folder} >= 10 && $emptied{$folder} >= $library->{folders}{$folder};
	}
	$expected{firm}{unused} = 1 if $used == 0;
	$expected{firm}{stale} = 1 if $library->{stale};
	$expected{firm}{account} = 1 if $library->{other_account};
	return \%expected;
}

sub kind
{
	my ($words) = @_;
	return "shrunk $1" if $words =~ /^table (\w+) used \d+ files at an audit/;
	return 'share' if $words =~ /of the library, more than max_fraction/;
	return 'count' if $words =~ /are more than max_files/;
	return "emptied $1" if $words =~ m{^folder (/f\d) would be emptied};
	return 'unused' if $words =~ /^no row of any watched table uses/;
	return 'stale' if $words =~ /more than 7 days ago/;
	return 'account' if $words =~ /are others than at the last audit/;
	return "unknown: $words";
}

# The round as SQL; what it prints is what run() reads.
sub statements
{
	my ($library, $round) = @_;
	my $account = "(SELECT oid FROM pg_foreign_server WHERE srvname = 'acme')";
	my $ago = $library->{stale} ? 24 * 7 + 1 : 0;
	my @sql = ('BEGIN', "SELECT '== $round'");
	my @protected = map { $_->{path} } grep { $_->{protected} } @{ $library->{orphans} // [] };
	push @sql, "ALTER SERVER acme OPTIONS (ADD protect '" . join(',', @protected) . "')" if @protected;
	for my $audit (0 .. 2)
	{
		push @sql, "INSERT INTO imagekit.audit_runs (id, server, state, identity, started_at, compared_at, files) OVERRIDING SYSTEM VALUE
			SELECT $audit + 1, $account, 'complete', imagekit.account_identity($account) + " . ($library->{other_account} ? 1 : 0) . ",
			  now() - interval '" . ((2 - $audit) * 24 + $ago) . " hours', now() - interval '" . ((2 - $audit) * 24 + $ago) . " hours', $library->{files}";
	}
	for my $table (sort keys %{ $library->{uses} })
	{
		my @before = @{ $library->{uses}{$table}{before} };
		push @sql, "INSERT INTO imagekit.audit_relations SELECT $_ + 1, $account, '$table'::regclass, '$table', $before[$_]" for 0 .. $#before;
		push @sql, "INSERT INTO imagekit.audit_relations SELECT 3, $account, '$table'::regclass, '$table', $library->{uses}{$table}{now}";
	}
	push @sql, "INSERT INTO imagekit.audit_storage SELECT 3, $account, 'folder', '/f$_', $library->{folders}{$_}, 0, 0, 0, 0, 0, 0, 0, 0" for sort keys %{ $library->{folders} };
	my $number = 0;
	for my $orphan (@{ $library->{orphans} // [] })
	{
		$number++;
		push @sql, "INSERT INTO imagekit.audit_orphans SELECT $account, 'id$number', '$orphan->{path}', '$ENDPOINT$orphan->{path}', $orphan->{size},
			now() - interval '$orphan->{created} hours', now() - interval '$orphan->{updated} hours', 1,
			now() - interval '" . ($ago + $orphan->{seen_for}) . " hours', now() - interval '$ago hours', " . ($orphan->{doubt} ? q{'in doubt'} : 'NULL') . ', ' . ($orphan->{queued} ? 'now()' : 'NULL');
	}
	my $arguments = "older_than => '$library->{older} hours', apart => '$library->{apart} hours', max_files => $library->{max_files}, max_fraction => $library->{max_fraction}";
	push @sql, "SELECT 'row', outcome, files, bytes, detail FROM imagekit.delete_orphans($arguments)";
	# The candidates' name, told from the outside: of the files, and of what may be approved.
	push @sql, "SELECT coalesce(md5(f.name || E'\\n' || r.reasons), f.name, 'none') AS name
		FROM (SELECT md5(string_agg(file_id || ' ' || path, E'\\n' ORDER BY file_id COLLATE \"C\")) AS name, count(*) AS files
		  FROM imagekit.sort_orphans($account, '$library->{older} hours', '$library->{apart} hours') WHERE category = 'candidate') f
		CROSS JOIN LATERAL (SELECT string_agg(reason, E'\\n') FILTER (WHERE approvable) AS reasons
		  FROM imagekit.orphan_refusals($account, f.files, $library->{max_files}, $library->{max_fraction}, '$library->{older} hours', '$library->{apart} hours')) r \\gset";
	push @sql, 'SELECT \'deed\', words_of($q$SELECT * FROM imagekit.delete_orphans(' . $arguments . ', dry_run => false' . {
		none => '', wrong => q{, approve => 'abc'}, right => q{, approve => nullif($q$ || quote_literal(:'name') || $q$, 'none')} }->{ $library->{approve} } . ')$q$)';
	push @sql, q{SELECT 'queued', count(*) FROM imagekit.backlog};
	push @sql, 'ROLLBACK';
	return join('', map { /\\gset$/ ? "$_\n" : "$_;\n" } @sql);
}

my @libraries = map { library() } 1 .. $rounds;
my ($status, $output, $errors) = $t->node->psql('postgres', join('', map { statements($libraries[$_], $_) } 0 .. $#libraries), on_error_stop => 0);
is($errors, '', 'no round fails by itself') or BAIL_OUT('the rounds cannot be run');
my @rounds = split /^== \d+\n/m, $output;
shift @rounds;
is(scalar(@rounds), $rounds, "$rounds rounds, seed $seed");

my (%seen, $wrong);
for my $round (0 .. $#rounds)
{
	my ($library, $expected) = ($libraries[$round], expected($libraries[$round]));
	my ($candidates, $bytes) = $rounds[$round] =~ /^row\|would be queued\|(\d+)\|(\d+)\|/m;
	my %refused = map { kind($_) => 1 } $rounds[$round] =~ /^row\|refused\|\|\|(.*)/mg;
	my ($deed) = $rounds[$round] =~ /^deed\|(.*)/m;
	my ($queued) = $rounds[$round] =~ /^queued\|(\d+)/m;
	my %all = (%{ $expected->{approvable} }, %{ $expected->{firm} });
	my $approved = $library->{approve} eq 'right' && $expected->{candidates} > 0;
	my $expected_deed = $library->{approve} eq 'wrong' ? qr/^the candidates, or what stands against them, are not what approve names/
	  : %{ $expected->{firm} } || (!$approved && %{ $expected->{approvable} }) ? qr/^orphans are not deleted: / : qr/^done$/;
	my $expected_queued = $expected_deed eq qr/^done$/ ? $expected->{candidates} : 0;
	$seen{$_}++ for keys %all, "approve $library->{approve}", $expected_queued > 0 ? 'deleted' : 'not deleted';
	next if $candidates == $expected->{candidates} && $bytes == $expected->{bytes} && "@{[ sort keys %refused ]}" eq "@{[ sort keys %all ]}"
	  && $deed =~ $expected_deed && $queued == $expected_queued;
	diag "round $round: $rounds[$round]\nexpected: $expected->{candidates} files, $expected->{bytes} bytes, refused for @{[ sort keys %all ]}, $expected_deed, $expected_queued queued";
	last if ++$wrong >= 3;
}
is($wrong // 0, 0, 'each refuses for what it should, and for nothing else');
cmp_ok($seen{$_} // 0, '>=', 3, "$_ occurs") for 'share', 'count', 'unused', 'stale', 'account', 'shrunk patches', 'emptied /f0', 'approve right', 'deleted', 'not deleted';

done_testing();
