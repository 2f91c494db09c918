# Each removal is settled once: as many entries in the history as rows have gone, whatever ImageKit answers and whoever dies. Rows
# name their files in many ways, several of them the same one, so that files wait for each other, stand for each other and are
# found to be one.
#
#   IMAGEKIT_ROWS=20000   how many; the default is short
#   IMAGEKIT_SEED=number  repeats the choices

use strict;
use warnings;

use ImageKit::ModelDisturbances;
use ImageKit::ModelFiles;
use ImageKit::Test;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $rows = $ENV{IMAGEKIT_ROWS} // 1500;
my $seed = $ENV{IMAGEKIT_SEED} // (time() ^ $$) % 1_000_000;
srand($seed);
note "IMAGEKIT_SEED=$seed IMAGEKIT_ROWS=$rows";
my $clients = 3;

my $t = ImageKit::Test->new(
	ready => 0,
	settings => {
		restart_after_crash => 'on', 'imagekit_cleanup.request_timeout' => '2s', 'imagekit_cleanup.retry_delay_max' => '300ms',
		'imagekit_cleanup.max_attempts' => 1_000_000, 'imagekit_cleanup.max_requests' => (2, 8, 20)[ rand 3 ] });
$t->prepare(server => { url_aliases => $ImageKit::ModelFiles::ALIAS, protect => $ImageKit::ModelFiles::PROTECTED, search_size => 25, bulk_size => 50, hold_above => 0, hold_fraction => 0 });
my $files = ImageKit::ModelFiles->new($t->imagekit);
my $disturbances = ImageKit::ModelDisturbances->new($t, $files);
$t->sql(q{
	CREATE SCHEMA model;
	CREATE TABLE model.files (file int PRIMARY KEY, urls text[], file_id text);
	CREATE TABLE pairs (id int PRIMARY KEY, url text, file_id text);
	SELECT imagekit.watch('pairs', '{url:file_id}')});
$t->sql($files->upload(int($rows / 3)));
# Rows of a file lie close together, so that they go at about the same time.
$t->sql("INSERT INTO pairs SELECT i, f.urls[1 + i * 7 % cardinality(f.urls)], CASE WHEN i % 2 = 0 THEN f.file_id END
	FROM generate_series(1, $rows) i JOIN model.files f ON f.file = 1 + (i / 3 + (i * 13 % 5)) % (SELECT count(*) FROM model.files)");

my %named = map { $files->of_url($_) => 1 } split /\n/, $t->sql('SELECT url FROM pairs');

# A client removes its share row by row, each in a transaction of its own.
sub remove
{
	my ($number) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', '/dev/null');
	# Without END blocks: they are the test's.
	exec('psql', '-X', '-q', $t->node->connstr('postgres'), '-c',
		"DO \$\$ DECLARE i int; BEGIN FOR i IN SELECT id FROM pairs WHERE id % $clients = $number ORDER BY id LOOP DELETE FROM pairs WHERE id = i; COMMIT; PERFORM pg_sleep(0.002); END LOOP; END \$\$") or POSIX::_exit(1);
}

my $left = 'SELECT count(*) FROM pairs';
my $deaths = 0;
until ($disturbances->ask($left) eq '0')
{
	my %running = map { remove($_) => 1 } 0 .. $clients - 1;
	while (%running)
	{
		for my $pid (keys %running) { delete $running{$pid} if waitpid($pid, POSIX::WNOHANG) == $pid; }
		my $what = rand;
		if ($what < 0.3) { $disturbances->fault; }
		elsif ($what < 0.6) { $disturbances->habit; }
		elsif ($what < 0.65) { $disturbances->drain_beside; }
		elsif ($what < 0.7) { $t->messages(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'}); }
		elsif ($what < 0.72 && $deaths++ < 3) { $disturbances->death; }
		sleep(rand(0.1));
	}
}
$disturbances->quiet;
eventually { $disturbances->ask('SELECT (SELECT count(*) FROM imagekit.outbox) + (SELECT count(*) FROM imagekit.claims) + (SELECT count(*) FROM imagekit.backlog)') } '0',
  'all is settled', 90;
is($t->sql('SELECT count(*) FROM imagekit.history'), $rows, 'each removal once') or diag $t->sql('SELECT outcome, count(*) FROM imagekit.history GROUP BY 1');
is_deeply([ sort { $a <=> $b } $files->in_library ], [ grep { !$named{$_} || $files->protected($_) } 1 .. $files->last ], 'every file that may go has gone, and no other');
my %deleted;
$deleted{$_}++ for $t->imagekit->deleted;
is(scalar(grep { $_ > 1 } values %deleted), 0, 'each once');
diag "IMAGEKIT_SEED=$seed: $rows rows; " . join ', ', split /\n/, $t->sql(q{SELECT outcome || ' ' || count(*) FROM imagekit.history GROUP BY outcome ORDER BY outcome});
note 'disturbances: ' . join ', ', map { "$_ " . $disturbances->counts->{$_} } sort keys %{ $disturbances->counts };

done_testing();
