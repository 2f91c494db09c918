# What a drain is measured on: the watched table and its rivals' tables, the account, and the library behind it. fill()
# puts everything back to the same state, drain() deletes rows and reckons up what the worker then did.
#
# A row of patches has four files: three in images, one in schema. Row i has the files 4i to 4i+3, which the emulator has
# spread over a thousand folders, so that files that are deleted together have their names, and nothing else, in common.
# So many further rows stay in the table, and their files in the library: every deleted file is asked about among them.

package Bench::Drain::Stage;

use strict;
use warnings;

use Bench::Emulator;
use Time::HiRes qw(sleep time);

our $FOLDERS = 1000;
our $STAYING_ROWS = 20_000;
# Row and file numbers of those that stay begin here: no two files have the same name.
our $FIRST_STAYING = 100_000_000;
my $FIRST_OF_PARTS = 200_000_000;
my $endpoint = 'https://ik.imagekit.io/acme';

# A drain that has deleted nothing for so long has stopped.
my $patience = 60;

# No limit, as far as the options go.
my %unlimited = (read_rate => 1000, read_burst => 1000, write_rate => 1000, write_burst => 1000);

my $create_patches = q{
	CREATE TABLE patches (
	  id integer PRIMARY KEY,
	  title text NOT NULL,
	  views integer NOT NULL,
	  images text[] NOT NULL,
	  schema jsonb NOT NULL);
};

# SERVER: a Bench::Server; EMULATOR: a Bench::Emulator; WITHOUT: server options that shall not be set.
sub new
{
	my ($class, $server, $emulator, %options) = @_;
	return bless { server => $server, emulator => $emulator, without => $options{without} // [] }, $class;
}

sub emulator { return $_[0]{emulator}; }
sub server { return $_[0]{server}; }

# Makes everything once, in the database of the server's connections.
sub create
{
	my ($self) = @_;
	$self->set('pg_stat_statements.track' => 'none');
	my $api = $self->{emulator}->url;
	$self->{server}->sql(qq{
		CREATE EXTENSION imagekit_cleanup;
		-- Mass changes are what is measured: none is held for an operator.
		CREATE SERVER acme FOREIGN DATA WRAPPER imagekit
		  OPTIONS (url_endpoint '$endpoint', api_url '$api', hold_above 'off', hold_fraction 'off');
		CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$Bench::Emulator::KEY');
		CREATE FUNCTION image_url(file integer, prefix text) RETURNS text LANGUAGE sql IMMUTABLE
		RETURN '$endpoint' || prefix || '/d' || lpad((file % $FOLDERS)::text, 4, '0')
		  || '/f' || lpad(file::text, greatest(7, length(file::text)), '0') || '.jpg';
		-- Rows from first to first + rows - 1.
		CREATE FUNCTION made(first integer, rows integer, prefix text)
		RETURNS TABLE (id integer, title text, views integer, images text[], schema jsonb) LANGUAGE sql IMMUTABLE
		BEGIN ATOMIC
		  SELECT i, 'Patch ' || i::text, 0,
		    ARRAY[image_url(4 * i, prefix), image_url(4 * i + 1, prefix), image_url(4 * i + 2, prefix)],
		    ('{"imageUrl": "' || image_url(4 * i + 3, prefix) || '", "name": "Patch ' || i::text || '", "width": 1600, '
		      || '"height": 1200, "tags": ["crochet", "granny square", "wool"], "stitch": "double", '
		      || '"description": "Worked in the round, four colours, joined as you go."}')::jsonb
		  FROM generate_series(first, first + rows - 1) AS i;
		END;
		CREATE SCHEMA own;
		CREATE SCHEMA queued;
		SET search_path = own;
		$create_patches
		SET search_path = queued;
		$create_patches
		SET search_path = public;
		$create_patches
		CREATE TABLE photos (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text, url text, file_id text);
		SELECT imagekit.watch('patches', '{images, schema.imageUrl}');
		SELECT imagekit.watch('photos', '{url:file_id}');
		SELECT imagekit.enable();
	});
	return;
}

# The account's options: those of no limit, and these. Dies, with what the extension says, when one is refused.
sub set_options
{
	my ($self, %options) = @_;
	%options = (%unlimited, %options);
	delete @options{ @{ $self->{without} } };
	my %now = map { /^(\w+)=(.*)/ } split /\n/,
	  $self->{server}->sql(q{SELECT unnest(srvoptions) FROM pg_foreign_server WHERE srvname = 'acme'});
	my @changes = map { my $verb = exists $now{$_} ? 'SET' : 'ADD'; [ $_, "$verb $_ '$options{$_}'" ] } sort keys %options;
	push @changes, map { [ $_, "DROP $_" ] } grep { /^(read|write)_|_size$/ && !exists $options{$_} } sort keys %now;
	for my $change (@changes)
	{
		eval { $self->{server}->sql("ALTER SERVER acme OPTIONS ($change->[1])"); 1 }
		  or die "server option $change->[0] is refused: " . ($@ =~ /ERROR:\s*(.*)/ ? $1 : $@) . "\n";
	}
	return;
}

# FILES files in the library and in the rows of a table (patches, own.patches, queued.patches or photos), beside those
# that stay; nothing queued, no request counted. OPTIONS: staying => rows that stay; in_rows => 0: only those that stay are in rows; others
# as of Bench::Emulator::renew.
sub fill
{
	my ($self, $table, $files, %options) = @_;
	my $emulator = $self->{emulator};
	my $staying = delete $options{staying} // $STAYING_ROWS;
	my $in_rows = delete $options{in_rows} // 1;
	$emulator->renew(%options);
	$emulator->fill('/bulk', 0, $files, $FOLDERS);
	$emulator->fill('/stay', 4 * $FIRST_STAYING, 4 * $staying, $FOLDERS);
	$self->{server}->sql(q{
		TRUNCATE imagekit.history, imagekit.outbox, imagekit.backlog;
		SET session_replication_role = replica; -- nothing is captured
		TRUNCATE patches, photos, own.patches, queued.patches;
	});
	if ($table eq 'photos') { $self->_fill_photos; }
	else
	{
		my $rows = int($files / 4);
		$self->{server}->sql("INSERT INTO $table SELECT * FROM made(0, $rows, '/bulk')") if $in_rows;
		$self->{server}->sql("INSERT INTO $table SELECT * FROM made($FIRST_STAYING, $staying, '/stay')");
	}
	$self->{server}->sql("VACUUM (ANALYZE) $table; CHECKPOINT;");
	$emulator->forget_requests;
	return;
}

# Beside what fill() has made, COUNT parts of FILES files each in patches, to be drained one after the other: drain(part => 1), 2, ...
sub fill_parts
{
	my ($self, $count, $files) = @_;
	my $rows = int($files / 4);
	for my $part (1 .. $count)
	{
		my $first = $FIRST_OF_PARTS + $part * $rows;
		$self->{emulator}->fill("/part$part", 4 * $first, $files, $FOLDERS);
		$self->{server}->sql("SET session_replication_role = replica; INSERT INTO patches SELECT * FROM made($first, $rows, '/part$part')");
	}
	$self->{server}->sql('VACUUM (ANALYZE) patches; CHECKPOINT;');
	return;
}

sub _fill_photos
{
	my ($self) = @_;
	my $file = "$self->{server}{scratch}/photos.tsv";
	open(my $out, '>', $file) or die "$file: $!\n";
	print {$out} "Photo\t$endpoint$_->[0]\t$_->[1]\n" for map { $self->{emulator}->file_ids($_) } qw(/bulk /stay);
	close $out or die "$file: $!\n";
	$self->{server}->sql("\\copy photos (title, url, file_id) FROM '$file'\n");
	return;
}

# SQL that deletes what fill() has made to go.
sub delete_sql
{
	my ($self, $table) = @_;
	return "DELETE FROM $table WHERE " . ($table eq 'photos' ? "url LIKE '$endpoint/bulk/%'" : "id < $FIRST_STAYING");
}

# Deletes the rows of FILES files in one transaction, and waits until the worker has settled all. Nothing less than all
# counts. OPTIONS: meanwhile => called several times a second; bucket_ms; part => only this one of fill_parts(); first => only until so
# many have gone, what waits then is given up, and {files} are those that went; enqueue => the number of the first of the files, which no
# row has: they are queued by name.
# Returns the emulator's rates with {files, seconds, rate, requests_per_file} added: seconds from the first request to the
# last one's answer, or to the last file's entry in the history, whichever is later.
sub drain
{
	my ($self, $table, $files, %options) = @_;
	my $part = $options{part};
	my $there = $self->{emulator}->count('/bulk');
	# After fill() there is nothing to forget; others come one after the other.
	if (defined $part || defined $options{enqueue})
	{
		$self->{server}->sql('TRUNCATE imagekit.history');
		$self->{emulator}->forget_requests;
	}
	if (defined $options{enqueue})
	{
		my ($from, $to) = ($options{enqueue}, $options{enqueue} + $files - 1);
		$self->{server}->sql(q{SELECT imagekit.pause('acme')});
		$self->{server}->sql(qq{DO \$\$ BEGIN PERFORM sum(imagekit.enqueue(ARRAY(SELECT image_url(f, '/bulk') FROM generate_series(b, least(b + 9999, $to)) f)))
			FROM generate_series($from, $to, 10000) b; END \$\$});
		# Writing them to disk is not what is measured, nor an autovacuum for so many new ones.
		$self->{server}->sql('VACUUM (ANALYZE) imagekit.backlog; CHECKPOINT;');
		$self->{server}->sql(q{SELECT imagekit.resume('acme')});
	}
	elsif (defined $part)
	{
		my $first = $FIRST_OF_PARTS + $part * int($files / 4);
		$self->{server}->sql("DELETE FROM $table WHERE id BETWEEN $first AND $first + $files / 4 - 1");
	}
	else { $self->{server}->sql($self->delete_sql($table)); }
	my $left = defined $part ? 0 : $there - ($options{first} // $files);
	$self->wait_until_gone(defined $part ? "/part$part/" : '/bulk', $options{meanwhile}, $left);
	$files = $there - $self->_give_up('/bulk') if defined $options{first};
	my $last_settled = $self->_settled($files);
	my $rates = $self->{emulator}->rates($options{bucket_ms});
	my $ended = $rates->{all}{ended_us} / 1e6;
	$ended = $last_settled if $last_settled > $ended;
	my $seconds = $ended - $rates->{all}{first_us} / 1e6;
	return { %$rates, files => $files, seconds => $seconds, rate => $files / $seconds,
		requests_per_file => $rates->{all}{requests} / $files };
}

# What is still queued goes nowhere. Returns how many files are left.
sub _give_up
{
	my ($self, $prefix) = @_;
	$self->{server}->sql(q{SELECT imagekit.pause('acme')});
	my $deadline = time() + 60;
	while ($self->{server}->sql('SELECT EXISTS (SELECT FROM imagekit.claims)') ne 'f')
	{
		die "the drain is paused, but files are still in its hands\n" if time() > $deadline;
		sleep 0.05;
	}
	$self->{server}->sql(q{TRUNCATE imagekit.outbox, imagekit.backlog; SELECT imagekit.resume('acme')});
	return $self->{emulator}->count($prefix);
}

# ENOUGH: how many may be left, 0 unless given. MEANWHILE: called several times a second; ends the waiting when it returns false.
sub wait_until_gone
{
	my ($self, $prefix, $meanwhile, $enough) = @_;
	my ($left, $seen) = (-1, time());
	for (;;)
	{
		my $now = $self->{emulator}->count($prefix);
		return if $now <= ($enough // 0);
		if ($now != $left) { ($left, $seen) = ($now, time()); }
		die "$now files are left, and none has gone for $patience s; " . $self->{server}->sql(q{
			SELECT 'status: ' || state || coalesce(', ' || cause, '') FROM imagekit.status}) . "\n" if time() > $seen + $patience;
		return if $meanwhile && !$meanwhile->();
		sleep 0.2;
	}
}

# Waits until nothing is pending; dies unless FILES were deleted, and nothing else happened to any. Returns when the last
# was settled, in seconds since 1970.
sub _settled
{
	my ($self, $files) = @_;
	my $deadline = time() + 60;
	while ((my $pending = $self->{server}->sql('SELECT count(*) FROM imagekit.pending')) > 0)
	{
		die "all files have gone, but $pending are still pending\n" if time() > $deadline;
		sleep 0.05;
	}
	my @outcomes = split /\n/, $self->{server}->sql('SELECT outcome, count(*) FROM imagekit.history GROUP BY 1');
	die "of $files files were settled: @outcomes\n" unless "@outcomes" eq "deleted|$files";
	return $self->{server}->sql('SELECT extract(epoch FROM max(settled_at)) FROM imagekit.history');
}

# The worker's process, or undef.
sub worker
{
	my ($self) = @_;
	return $self->{server}->sql(q{
		SELECT pid FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker' AND datname = 'postgres'}) || undef;
}

# ALTER SYSTEM for SETTINGS; an undefined value resets.
sub set
{
	my ($self, %settings) = @_;
	$self->{server}->sql(join('', map {
		defined $settings{$_} ? "ALTER SYSTEM SET $_ = '$settings{$_}';" : "ALTER SYSTEM RESET $_;"
	} sort keys %settings) . 'SELECT pg_reload_conf();');
	return;
}

1;
