# What every test here begins with: a server with the extension, an emulator, and waiting with a deadline.
#
#   my $t = ImageKit::Test->new;                # cluster, emulator, database postgres ready and armed
#   $t->insert(1, 'cat.jpg', 'dog.jpg');        # a row of patches whose images exist at ImageKit
#   $t->sql('DELETE FROM patches');
#   eventually { $t->files } '', 'the images are gone';
#
# A test never sleeps and hopes: eventually() and wait_for() look again until a deadline and show what they saw last.

package ImageKit::Test;

use strict;
use warnings;

use Exporter 'import';
use ImageKit::Emulator;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(wait_for eventually stays many_waiting $ENDPOINT $KEY);

our $ENDPOINT = 'https://ik.imagekit.io/acme';
our $KEY = 'private_test_acme';

# Generous: a loaded machine must not fail a test, and a passing one does not wait.
my $patience = 20;

# Seconds that a statement may take: one that waits for ever is to fail as such, and not as a run that was broken off.
my $LONGEST = 600;

# The waits of a test, instead of those of a patient server. Statements are not logged: CREATE USER MAPPING holds the key.
my %settings = (
	'shared_preload_libraries' => "'imagekit_cleanup'",
	'log_statement' => 'none',
	'imagekit_cleanup.poll_interval' => '1s',
	'imagekit_cleanup.worker_idle_timeout' => '1s',
	# Images of a test are uploaded right before their rows go.
	'imagekit_cleanup.clock_skew' => '0',
	'imagekit_cleanup.search_lag' => '0',
	'imagekit_cleanup.retry_delay' => '50ms',
	'imagekit_cleanup.retry_delay_max' => '1s');

# A cluster is copied from the one that test/lib/tap has made: initdb takes seconds, and there are a hundred of them. From
# PostgreSQL 16 on Cluster::init does it by itself.
if (defined $ENV{INITDB_TEMPLATE})
{
	no warnings 'redefine';
	my $system_or_bail = \&PostgreSQL::Test::Utils::system_or_bail;
	*PostgreSQL::Test::Utils::system_or_bail = sub {
		my @initdb = ('initdb', '-D', $_[2] // '', '-A', 'trust', '-N');
		return $system_or_bail->('cp', '-RPp', $ENV{INITDB_TEMPLATE}, $_[2]) if "@_" eq "@initdb";
		goto &$system_or_bail;
	};
}

# OPTIONS: settings => {name => value or undef to leave it out}, init => [arguments of Cluster::init],
# ready => 0 (an empty database postgres; prepare() makes a database ready), cluster => [arguments of Cluster::new].
sub new
{
	my ($class, %options) = @_;
	my %conf = (%settings, %{ $options{settings} // {} });
	my $node = PostgreSQL::Test::Cluster->new($options{name} // 'main', @{ $options{cluster} // [] });
	$node->init(@{ $options{init} // [] });
	$node->append_conf('postgresql.conf',
		join('', map { "$_ = $conf{$_}\n" } grep { defined $conf{$_} } sort keys %conf));
	$node->start;
	my $self = bless { node => $node, imagekit => ImageKit::Emulator->start }, $class;
	$self->prepare if $options{ready} // 1;
	return $self;
}

sub node { $_[0]{node} }
sub imagekit { $_[0]{imagekit} }

# A clean database of README's first minute: account acme, tables patches and modules, armed.
# OPTIONS: db, server => {option => value}, key (undef: no user mapping), enable => 0.
sub prepare
{
	my ($self, %options) = @_;
	my $db = $options{db} // 'postgres';
	my $key = exists $options{key} ? $options{key} : $KEY;
	my %server = (
		url_endpoint => $ENDPOINT,
		api_url => $self->imagekit->url,
		# Not what is tested here; the default rates would make tests slow.
		read_rate => 1000, read_burst => 1000, write_rate => 1000, write_burst => 1000,
		%{ $options{server} // {} });
	my $list = join(', ', map { "$_ '$server{$_}'" } sort keys %server);
	my $mapping = defined $key ? "CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$key');" : '';
	my $enable = $options{enable} // 1 ? 'SELECT imagekit.enable();' : '';
	my ($status, $output, $errors) = $self->node->psql($db, qq{
		SET client_min_messages = error;
		CREATE EXTENSION imagekit_cleanup;
		CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS ($list);
		$mapping
		CREATE TABLE patches (id int PRIMARY KEY, images text[], schema jsonb);
		CREATE TABLE modules (id int PRIMARY KEY, images text[]);
		SELECT imagekit.watch('patches', '{images, schema.imageUrl}');
		SELECT imagekit.watch('modules', '{images}');
		$enable});
	BAIL_OUT("cannot prepare database $db: $errors") if $status != 0;
	return;
}

# A watched table, parted, that cannot be searched: nobody can reach the server of one of its partitions.
sub watch_unsearchable
{
	my ($self) = @_;
	$self->sql(q{
		CREATE TABLE parted (id int, image text) PARTITION BY LIST (id);
		CREATE TABLE part1 PARTITION OF parted FOR VALUES IN (1);
		SELECT imagekit.watch('parted', '{image}');
		CREATE FOREIGN DATA WRAPPER nothing;
		CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
		SET client_min_messages = error;
		CREATE FOREIGN TABLE far PARTITION OF parted FOR VALUES IN (2) SERVER nowhere});
	return;
}

# Runs SQL that must not fail; returns what it printed. Several statements are one connection, not one transaction.
sub sql
{
	my ($self, $sql, $db) = @_;
	return $self->node->safe_psql($db // 'postgres', $sql, timeout => $LONGEST);
}

# Runs SQL that may fail; returns its messages.
sub messages
{
	my ($self, $sql, $db) = @_;
	my ($status, $output, $errors) = $self->node->psql($db // 'postgres', $sql, on_error_stop => 0, timeout => $LONGEST);
	return $errors;
}

# A row of patches with these images, which are put into the library too.
sub insert
{
	my ($self, $id, @names) = @_;
	$self->imagekit->seed(map { "/$_" } @names);
	$self->sql("INSERT INTO patches VALUES ($id, ARRAY[" . join(', ', map { "'" . url($_) . "'" } @names) . ']::text[])');
	return;
}

sub url { return "$ENDPOINT/$_[0]"; }

# MANY files, PREFIX1.jpg and so on, wait in the backlog: the first is due AT (SQL), and each a millisecond after the one before.
# To be run as it is, or with more in the same transaction.
sub many_waiting
{
	my ($server, $prefix, $many, $at) = @_;
	return qq{INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at)
		SELECT '$prefix' || i || '.jpg', s.oid, pg_current_xact_id(), 0, 10, 'E', now(), $at + i * interval '1 ms'
		FROM generate_series(1, $many) i, pg_foreign_server s WHERE s.srvname = '$server'};
}

# What tests ask again and again; each one text, so that it can be compared and shown.

sub files { my ($self, @filter) = @_; return join(' ', $self->imagekit->files(@filter)); }

sub pending { my ($self, $db) = @_; return $self->sql('SELECT count(*) FROM imagekit.pending', $db); }

# "outcome file name" of all that is settled.
sub history
{
	my ($self, $db) = @_;
	return $self->sql(
		q{SELECT string_agg(outcome || ' ' || regexp_replace(url, '.*/', ''), ', ' ORDER BY regexp_replace(url, '.*/', ''), id)
		  FROM imagekit.history}, $db);
}

sub status { my ($self, $db) = @_; return $self->sql('SELECT state FROM imagekit.status', $db); }
sub cause { my ($self, $db) = @_; return $self->sql('SELECT cause FROM imagekit.status', $db); }

# Process id of a database's worker; empty when there is none.
sub worker
{
	my ($self, $db) = @_;
	$db //= 'postgres';
	return $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker' AND datname = '$db'");
}

# A session with a transaction for which PostgreSQL keeps all that goes from here on.
sub old_snapshot
{
	my ($self) = @_;
	my $psql = $self->node->background_psql('postgres');
	$psql->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	return $psql;
}

sub setting
{
	my ($self, $name, $value) = @_;
	$self->node->append_conf('postgresql.conf', "$name = $value\n");
	$self->node->reload;
	return;
}

# The server log, from where mark_log() was called last.
sub mark_log { my ($self) = @_; $self->{mark} = -s $self->node->logfile; return; }
sub log { my ($self) = @_; return slurp_file($self->node->logfile, $self->{mark} // 0); }

# The lines that are the extension's messages to the operator: "LEVEL:  text".
sub log_lines
{
	my ($self, $pattern) = @_;
	return grep { /$pattern/ } map { /\[\d+\] (?:\S.*? )?((?:LOG|WARNING|ERROR|FATAL|PANIC):  .*)/ ? $1 : () } split(/\n/, $self->log);
}

# Waiting ---------------------------------------------------------------------------------------------------------------

# Until the next look, after one that began at SINCE: looks take a third of a processor at most, for who is waited for needs it.
sub rest { my ($since, $least) = @_; my $took = 2 * (time() - $since); sleep($took < $least ? $least : $took > 0.2 ? 0.2 : $took); return; }

# Step of a test, not a check: returns the first true value of CODE. Dies at the deadline.
sub wait_for(&$;$)
{
	my ($code, $what, $seconds) = @_;
	my $deadline = time() + ($seconds // $patience);
	for (;;)
	{
		my $since = time();
		my $value = $code->();
		return $value if $value;
		die sprintf("waited %d s in vain: %s; last seen: %s\n", $seconds // $patience, $what, $value // 'undef')
		  if time() > $deadline;
		rest($since, 0.03);
	}
}

# A check: CODE gives EXPECTED (a text, or a pattern it matches) before the deadline.
sub eventually(&$$;$)
{
	my ($code, $expected, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $deadline = time() + ($seconds // $patience);
	for (;;)
	{
		my $since = time();
		my $value = $code->();
		my $good = defined $value && (ref $expected ? $value =~ $expected : $value eq $expected);
		return pass($name) if $good;
		if (time() > $deadline)
		{
			diag "waited in vain, and saw this last";
			return ref $expected ? like($value, $expected, $name) : is($value, $expected, $name);
		}
		rest($since, 0.03);
	}
}

# A check that something does not happen: CODE gives EXPECTED every time, for as long as anything could happen.
sub stays(&$$;$)
{
	my ($code, $expected, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $end = time() + ($seconds // 1);
	my $value;
	do
	{
		my $since = time();
		$value = $code->();
		return is($value, $expected, $name) if $value ne $expected;
		rest($since, 0.05);
	} while time() < $end;
	return pass($name);
}

# Of PostgreSQL's statistics: those of a process that has left are complete.
sub counted
{
	my ($self, $sql) = @_;
	wait_for { $self->worker eq '' } 'the worker has left';
	return $self->sql($sql);
}

1;
