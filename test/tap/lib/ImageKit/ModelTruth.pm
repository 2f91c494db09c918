# What must be true when a round of the model test is over: computed from the rows as they stand, from what the test knows
# of its URLs, and from ImageKit's list of files and journal of requests.

package ImageKit::ModelTruth;

use strict;
use warnings;

use Encode qw(encode_utf8);
use JSON::PP;
use ImageKit::ModelTables;
use ImageKit::ModelFiles;
use ImageKit::Test;
use PostgreSQL::Test::Utils;

# EVER: files that a committed row has held.
sub new { my ($class, $t, $files) = @_; return bless { t => $t, files => $files, ever => {}, deleted => {} }, $class; }

sub deletes { return scalar keys %{ $_[0]{deleted} }; }
sub ever { return scalar keys %{ $_[0]{ever} }; }

# Violations of a round, as text; none when all is well. The round's log and journal are read, and forgotten.
sub look
{
	my ($self) = @_;
	my %used = $self->_used;
	my %there = map { $_ => 1 } $self->{files}->in_library;
	my @entries = $self->{t}->imagekit->journal;
	my @log = $self->_log;
	$self->{ever}{ $_->[0] } = 1 for grep { $_->[3] > 0 } @log;

	my @wrong = ($self->_log_is_true(\%used, \@log), $self->_requests_allowed(\@entries), $self->_queue_is_empty);
	for my $file (sort { $a <=> $b } 1 .. $self->{files}->last)
	{
		my $kept = $used{$file} || $self->{files}->protected($file) || !$self->{ever}{$file};
		next if $kept ? $there{$file} : !$there{$file};
		push @wrong, ($used{$file} ? 'DELETED though used' : $kept ? 'DELETED though ' . ($self->{ever}{$file} ? 'protected' : 'never used') : 'NOT DELETED')
		  . ': ' . $self->story($file, \@entries);
	}
	my $unreadable = $self->{files}->unreadable_kept;
	push @wrong, "only $unreadable files of unreadable URLs are left" if $unreadable != ImageKit::ModelFiles::unreadable_count();
	push @wrong, map { 'DELETED while used: ' . $self->story($_, \@entries) } $self->_deleted_while_used(\@entries, \@log);
	$self->_forget unless @wrong;
	return @wrong;
}

# file => ["table id", ...], read from the rows' URLs.
sub _used
{
	my ($self) = @_;
	my (%used, %by_urls, %by_files);
	for my $line (split /\n/, $self->{t}->sql(ImageKit::ModelTables::rows_sql()))
	{
		my ($table, $id, $files, $url) = split /\|/, $line, 4;
		$by_files{"$table $id"}{$_} = 1 for split /,/, $files;
		next if $url eq '' || ImageKit::ModelFiles::is_unreadable($url);
		my $file = $self->{files}->of_url($url) // die "$table $id holds a URL of nobody's: $url\n";
		push @{ $used{$file} }, "$table $id";
		$by_urls{"$table $id"}{$file} = 1;
	}
	# The test's own books: rows hold what the column files says.
	for my $row (keys %{ { %by_urls, %by_files } })
	{
		my ($urls, $files) = map { join ' ', sort keys %{ $_->{$row} // {} } } \%by_urls, \%by_files;
		die "$row holds the files $urls and says $files\n" if $urls ne $files;
	}
	return %used;
}

# [file, how many more or fewer uses, committed at (ms), how many that were put into rows], in the order of the commits.
sub _log
{
	my ($self) = @_;
	return map { [ split /\|/ ] } split /\n/, $self->{t}->sql(
		'SELECT file, sum(delta), extract(epoch FROM at) * 1000, count(*) FILTER (WHERE delta > 0) FROM (SELECT file, delta, pg_xact_commit_timestamp(xmin) AS at FROM model.log) l GROUP BY file, at ORDER BY at, file');
}

# By its sum, the log says what the rows say, or it could not be relied on for what was between.
sub _log_is_true
{
	my ($self, $used, $log) = @_;
	my %uses;
	$uses{ $_->[0] } += $_->[1] for @$log;
	my %rows = map { $_ => 1 } keys %$used;
	return map { "the log of uses is wrong about file $_: $uses{$_}" } grep { ($uses{$_} > 0) != !!$rows{$_} } sort { $a <=> $b } keys %uses;
}

# An application that is honest never uses a file again that nothing uses any more: so at the moment of a delete, nothing
# may. Commits carry microseconds, requests milliseconds.
sub _deleted_while_used
{
	my ($self, $entries, $log) = @_;
	my %changes;
	push @{ $changes{ $_->[0] } }, $_ for @$log;
	my %wrong;
	for my $entry (@$entries)
	{
		for my $id (@{ $entry->{removed} })
		{
			my $file = $self->{files}->of_id($id) // next;
			my $uses = 0;
			$uses += $_->[1] for grep { $_->[2] <= $entry->{wall_ms} + 2 } @{ $changes{$file} };
			$wrong{$file} = 1 if $uses > 0;
			$self->{deleted}{$file} = 1;
		}
	}
	return sort { $a <=> $b } keys %wrong;
}

sub _requests_allowed
{
	my ($self, $entries) = @_;
	my (@wrong, %gone);
	for my $entry (@$entries)
	{
		my $what = "$entry->{method} $entry->{path}";
		my @asked =
		    $what =~ m{^DELETE /v1/files/([0-9a-f]{24})$}         ? $1
		  : $what eq 'POST /v1/files/batch/deleteByFileIds' ? @{ decode_json($entry->{body})->{fileIds} }
		  :                                                   ();
		push @wrong, "a request that nobody needs: $what" unless @asked || $what eq 'GET /v1/files';
		for my $id (@asked)
		{
			push @wrong, "a delete of no file of the model: $id in $what" unless defined $self->{files}->of_id($id);
		}
		for my $id (@{ $entry->{removed} })
		{
			push @wrong, 'DELETED TWICE: ' . $self->story($self->{files}->of_id($id), $entries) if $gone{$id}++;
		}
	}
	return @wrong;
}

sub _queue_is_empty
{
	my ($self) = @_;
	my @left = grep { !ImageKit::ModelFiles::is_unreadable((split /\|/, $_, 3)[2]) || !/^failed\|/ }
	  split /\n/, $self->{t}->sql('SELECT state, last_error, url FROM imagekit.pending');
	push @left, map { "moved row|$_" } split /\n/, $self->{t}->sql('SELECT ctid FROM imagekit.outbox');
	return map { "left in the queue: $_" } @left;
}

# Everything about a file; about the first three of a round, for where there are hundreds they have one cause.
sub story
{
	my ($self, $file, $entries) = @_;
	my $files = $self->{files};
	my ($path, $id) = ($files->path($file), $files->id($file));
	return "file $file $path" if $self->{stories}++ >= 3;
	my $name = encode_utf8(($path =~ m{([^/]+)$})[0]);
	my $urls = join ', ', map { "'" . s/'/''/gr . "'" } $files->spellings($file);
	my $named = join '|', map { quotemeta } $id, $files->spellings($file);
	my @journal = grep { $_->{path} =~ /$id/ || ($_->{body} // '') =~ /$id/ || ($_->{query}{searchQuery} // '') =~ /\Q$name\E/ } @$entries;
	return join "\n    ", "file $file $path fileId $id",
	  (map { "row: $_" } grep { /\b$file\b/ } split /\n/, $self->{t}->sql(ImageKit::ModelTables::rows_sql())),
	  (map { "uses: $_" } split /\n/, $self->{t}->sql("SELECT pg_xact_commit_timestamp(xmin), xmin, delta FROM model.log WHERE file = $file ORDER BY 1")),
	  (map { "history: $_" } split /\n/, $self->{t}->sql("SELECT id, outcome, detail, relation, captured_at, settled_at, url FROM imagekit.history WHERE url IN ($urls) ORDER BY id")),
	  (map { "pending: $_" } split /\n/, $self->{t}->sql("SELECT * FROM imagekit.pending WHERE url IN ($urls)")),
	  (map { "journal: $_->{seq} at $_->{wall_ms} $_->{method} $_->{path} " . ($_->{query}{searchQuery} // '') . " status $_->{status}, executed $_->{executed}, fault $_->{fault}, $_->{duration_ms} ms" } @journal),
	  (map { "log: $_" } grep { /(?:$named)(?: |$)/ || /(?:ready to accept|terminated by|shutdown)/ } split /\n/, slurp_file($self->{t}->node->logfile));
}

# The next round begins with the sums.
sub _forget
{
	my ($self) = @_;
	$self->{t}->imagekit->forget;
	$self->{t}->sql(q{
		BEGIN;
		CREATE TEMP TABLE sums AS SELECT file, sum(delta) AS uses FROM model.log GROUP BY file HAVING sum(delta) <> 0;
		TRUNCATE model.log;
		INSERT INTO model.log SELECT file, uses FROM sums;
		COMMIT});
	return;
}

1;
