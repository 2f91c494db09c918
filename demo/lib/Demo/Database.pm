# The throw-away server as the demo sees it, through psql, and its log. PGHOST and PGPORT say where it is.
package Demo::Database;

use strict;
use warnings;

use Encode qw(decode encode);
use IPC::Open2;
use JSON::PP;

# new(path of the server's log)
sub new {
    my ($class, $log) = @_;
    return bless { log => $log, read => 0 }, $class;
}

# Feeds SQL to psql and returns what it printed. From its standard input, as the server's account may be unable to read
# the checkout.
sub psql {
    my ($self, $sql, @options) = @_;
    local $SIG{PIPE} = 'IGNORE';    # psql may end before it has read everything: its status tells
    my $pid = open2(my $out, my $in, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @options);
    print {$in} encode('UTF-8', $sql);
    close $in;
    my $printed = do { local $/; <$out> };
    close $out;
    waitpid $pid, 0;
    die "psql failed with status " . ($? >> 8) . ", see above\n" if $?;
    return decode('UTF-8', $printed // '');
}

# As the application does it: an ordinary role that owns its tables, and has no rights on the schema imagekit.
sub as_application {
    my ($self, $sql) = @_;
    return $self->psql($sql, '-U', 'app', '-d', 'demo');
}

# As the DBA: the rows of a query, as hashes.
sub rows {
    my ($self, $query) = @_;
    my $json = $self->psql("SELECT coalesce(json_agg(q), '[]') FROM ($query) q;", qw(-A -t -U postgres -d demo));
    return @{ JSON::PP->new->decode($json) };
}

# The only column of a query.
sub column {
    my ($self, $query) = @_;
    return map { values %$_ } $self->rows($query);
}

# How many URLs the worker still has to do with.
sub unsettled {
    my ($self) = @_;
    my ($count) = $self->column(q{SELECT count(*) FROM imagekit.pending WHERE state IN ('waiting', 'retrying')});
    return $count;
}

# What the server logged since the last call.
sub new_log_lines {
    my ($self) = @_;
    open my $file, '<:raw', $self->{log} or die "cannot read $self->{log}: $!\n";
    seek $file, $self->{read}, 0;
    my $text = do { local $/; <$file> } // '';
    $text =~ s/[^\n]*\z//;    # a line being written: next time
    $self->{read} += length $text;
    return split /\n/, decode('UTF-8', $text);
}

# All of it.
sub all_log_lines {
    my ($self) = @_;
    return Demo::Database->new($self->{log})->new_log_lines;
}

1;
