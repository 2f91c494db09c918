# What an audit is measured on: the library and the tables that use it; and the audits themselves, watched from outside.
#
# Most files were created one after the other, a tenth in a few seconds, as an import leaves them. Two tables are watched: photos, with
# an array and an owner, and pages, a tenth as large, with a document. Of a hundred files 97 are used; of a thousand rows ten use a file
# that another uses too, one has a URL without a file, and ten one of another host.

package Bench::Audit::Stage;

use strict;
use warnings;

use Bench::Drain::Client;
use POSIX ();
use Time::HiRes qw(sleep time);

my $endpoint = 'https://ik.imagekit.io/acme';
my $folders = 1000;
my $look_every = 0.02;    # s

# SERVER: a Bench::Server; EMULATOR: a Bench::Emulator; OPTIONS: files, rows.
sub new
{
	my ($class, $server, $emulator, %options) = @_;
	return bless { server => $server, emulator => $emulator, %options }, $class;
}

sub create
{
	my ($self) = @_;
	my ($files, $rows) = @{$self}{qw(files rows)};
	my $crowded = int($files / 10);
	my $emulator = $self->{emulator};
	$emulator->renew;
	my $seed = sub { $emulator->ask(POST => 'seed_many', { prefix => '/bulk', folders => $folders, @_ }); };
	$seed->(first => 0, count => $files - $crowded, createdAt => '2023-01-01T00:00:00.000Z', step_ms => 30_000);
	$seed->(first => $files - $crowded, count => $crowded, createdAt => '2024-06-01T00:00:00.000Z', step_ms => 10_000 / $crowded);

	my $api = $emulator->url;
	$self->{server}->sql(qq{
		CREATE EXTENSION imagekit_cleanup;
		CREATE SERVER acme FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$endpoint', api_url '$api',
		  read_rate '1000', read_burst '1000', audit_share '1');
		CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$Bench::Emulator::KEY');
		CREATE FUNCTION image_url(file integer) RETURNS text LANGUAGE sql IMMUTABLE AS
		  \$\$ SELECT format('$endpoint/bulk/d%s/f%s.jpg', lpad((file % $folders)::text, 4, '0'), lpad(file::text, 7, '0')) \$\$;
		-- Of a hundred files the last three are nobody's.
		CREATE FUNCTION url_of_row(i integer) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
		  SELECT CASE WHEN i % 1000 = 0 THEN '$endpoint/missing/' || i || '.jpg'
		              WHEN i % 1000 <= 10 THEN 'https://cdn.example.com/pictures/' || i || '.jpg'
		              WHEN i % 1000 <= 20 THEN image_url(CASE WHEN (i - 10) % $files % 100 < 97 THEN (i - 10) % $files ELSE 0 END)
		              WHEN i % $files % 100 < 97 THEN image_url(i % $files) ELSE image_url(0) END \$\$;
		CREATE TABLE photos (id integer PRIMARY KEY, owner_id integer NOT NULL, title text NOT NULL, images text[] NOT NULL);
		CREATE TABLE pages (id integer PRIMARY KEY, schema jsonb NOT NULL);
		INSERT INTO photos SELECT i, i % 500, repeat('about ' || i, 20), ARRAY[url_of_row(i)] FROM generate_series(0, $rows - 1) AS i WHERE i % 10 <> 9;
		INSERT INTO pages SELECT i, jsonb_build_object('title', 'page ' || i, 'imageUrl', url_of_row(i))
		FROM generate_series(0, $rows - 1) AS i WHERE i % 10 = 9;
		SELECT imagekit.watch('photos', '{images}', owner => 'owner_id', create_index => false);
		SELECT imagekit.watch('pages', '{schema.imageUrl}', create_index => false);
		ALTER SYSTEM SET imagekit_cleanup.search_lag = 0;
		SELECT pg_reload_conf();
		SELECT imagekit.enable();
		VACUUM ANALYZE photos, pages;
		CHECKPOINT});
	$self->{looker} = Bench::Audit::Looker->new("$self->{server}{bindir}/psql");
	return;
}

# A whole audit. Returns {pages, seconds => {step => ...}, memory_mb, notes}.
sub audit
{
	my ($self, %options) = @_;
	$self->{emulator}->forget_requests;
	my $run = $self->_call($options{anew} ? 'NULL, true' : '');
	my ($state, $pages, @found) = split /\|/, $self->{server}->sql(q{
		SELECT state, pages, files, orphans, doubtful, dangling FROM imagekit.audits ORDER BY id DESC LIMIT 1});
	die "the audit is not complete: $run->{said}\n" unless $state eq 'complete';
	$run->{pages} = $pages;
	$run->{requests} = $self->{emulator}->rates->{reads}{requests};
	$run->{notes} = [
		sprintf('%.1f s: %s', $run->{all}, join ', ', map { sprintf '%s %.1f', $_, $run->{seconds}{$_} // 0 } qw(listing references tail comparing)),
		sprintf('%d pages; %d files, %d orphans, %d in doubt, %d URLs without a file; memory at most %.1f MB', $pages, @found, $run->{memory_mb}) ];
	return $run;
}

# An audit whose backend is ended in the middle, and another call: what that costs in pages, and until one of them comes.
sub resumed_audit
{
	my ($self) = @_;
	my $emulator = $self->{emulator};
	my $needed = $self->{server}->sql('SELECT pages FROM imagekit.audits ORDER BY id DESC LIMIT 1');
	$emulator->forget_requests;
	$self->_call('NULL, true', sub { my ($look) = @_; kill 'TERM', $look->{pid} if $look->{pages} >= $needed / 2; });
	my $since = $emulator->last_request;
	my $again = time();
	my $run = $self->_call('');
	die "the audit is not complete: $run->{said}\n" unless $self->{server}->sql('SELECT state FROM imagekit.audits ORDER BY id DESC LIMIT 1') eq 'complete';
	my ($first) = $emulator->journal($since, limit => 1);
	my $pages = grep { ($_->{query}{sort} // '') eq 'ASC_CREATED' } $emulator->journal(0, limit => 200_000);
	my $ms = 1000 * ($first->{wall_us} / 1e6 - $again);
	return { pages_more => $pages - $needed, ms => $ms, notes => [ sprintf '%d pages instead of %d; the first %.0f ms after the call', $pages, $needed, $ms ] };
}

# An audit within the default share of the rate that ImageKit publishes, for so many SECONDS. Nothing is saved up before.
sub paced_audit
{
	my ($self, $seconds) = @_;
	my ($rate, $share) = (40, 0.25);
	$self->{server}->sql("ALTER SERVER acme OPTIONS (SET read_rate '$rate', SET read_burst '4', SET audit_share '$share')");
	$self->{emulator}->forget_requests;
	my $end = time() + $seconds;
	$self->_call('NULL, true', sub { my ($look) = @_; kill 'TERM', $look->{pid} if time() > $end; });
	my @at = map { $_->{wall_us} / 1e6 } grep { ($_->{query}{sort} // '') eq 'ASC_CREATED' } $self->{emulator}->journal(0, limit => 200_000);
	my $pace = $#at / ($at[-1] - $at[0]);
	return { pace => $pace, share => 100 * $pace / ($rate * $share), notes => [ sprintf '%.2f pages a second, of %g', $pace, $rate * $share ] };
}

sub disk_mb
{
	my ($self) = @_;
	return $self->{server}->sql(q{
		SELECT round((pg_total_relation_size('imagekit.inventory') + pg_total_relation_size('imagekit.audit_references')) / 1048576.0)});
}

# CALL imagekit.audit(ARGUMENTS), with each step's seconds and the highest memory; WHILE_RUNNING is shown each look.
sub _call
{
	my ($self, $arguments, $while_running) = @_;
	my $said = "$self->{server}{scratch}/audit.said";
	my $began = time();
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>', $said) && open(STDERR, '>&', \*STDOUT)
		  && exec("$self->{server}{bindir}/psql", '-X', '-q', 'postgres', '-c', q{SET application_name = 'audit'}, '-c', "CALL imagekit.audit($arguments)");
		POSIX::_exit(127);
	}
	my (%seconds, $backend, $fresh, $peak, $step);
	my $since = $began;
	until (waitpid($pid, POSIX::WNOHANG) == $pid)
	{
		my $look = $self->{looker}->look or next;
		my $memory = $backend = _anon_mb($look->{pid}) // next;
		$fresh //= $memory;
		$peak = $memory if $memory > ($peak // 0);
		my $now = time();
		$seconds{ $step // 'listing' } += $now - $since;
		($since, $step) = ($now, $look->{state}) if $look->{state} ne '';
		$while_running->($look) if $while_running;
		sleep $look_every;
	}
	$seconds{ $step // 'listing' } += time() - $since;
	open(my $in, '<', $said) or die "$said: $!\n";
	my $text = join '', <$in>;
	return { seconds => \%seconds, all => time() - $began, memory_mb => ($peak // 0) - ($fresh // 0), said => $text };
}

sub _anon_mb
{
	my ($pid) = @_;
	open(my $status, '<', "/proc/$pid/status") or return undef;
	while (my $line = <$status>) { return $1 / 1024 if $line =~ /^RssAnon:\s+(\d+) kB/; }
	return undef;
}

# Asks again and again how far the audit is, in a session of its own.
package Bench::Audit::Looker;

use IPC::Open2;

sub new
{
	my ($class, $psql) = @_;
	my $self = bless {}, $class;
	open2($self->{output}, $self->{input}, $psql, '-X', '-q', '-A', '-t', 'postgres');
	$self->{input}->autoflush(1);
	return $self;
}

# {pid, state, pages}; undef while nobody audits.
sub look
{
	my ($self) = @_;
	print { $self->{input} } q{SELECT a.pid, r.state, r.pages FROM (SELECT 1) x
		LEFT JOIN pg_stat_activity a ON a.application_name = 'audit' LEFT JOIN imagekit.audit_runs r ON r.id = (SELECT max(id) FROM imagekit.audit_runs) AND r.finished_at IS NULL;
	};
	my $output = $self->{output};
	chomp(my $line = <$output> // die "the looker has ended\n");
	my ($pid, $state, $pages) = split /\|/, $line, -1;
	return $pid eq '' ? undef : { pid => $pid, state => $state, pages => $pages || 0 };
}

1;
