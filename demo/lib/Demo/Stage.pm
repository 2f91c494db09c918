# Plays steps and judges them. The verdict on a step comes from the emulator: of all files of all accounts, exactly
# those that the step names must have gone, within a deadline, and the queue must be empty.
package Demo::Stage;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use constant DEADLINE => 20;     # seconds for a step's outcome
use constant GIVE_UP => 3;       # seconds with an empty queue and a wrong outcome: waiting changes nothing any more
use constant FILES_SHOWN => 8;

sub new {
    my ($class, $imagekit, $database) = @_;
    my $self = bless { imagekit => $imagekit, database => $database, verdicts => [] }, $class;
    $self->{colours} = -t STDOUT && !defined $ENV{NO_COLOR} && ($ENV{TERM} // 'dumb') ne 'dumb';
    $self->{after} = $imagekit->files;
    return $self;
}

# step(title, ...) with:
#   prepare  what happens at ImageKit before (code), and
#   meanwhile  the same in words
#   sql      what the application does
#   gone     the files of the account acme that must go (paths); nothing else may
#   marker   id of a patch with one image, deleted afterwards: when its file has gone, the worker had its chance
#   log      texts the log of this step must hold
#   look     a query to print, and
#   shows    the text its output must hold
#   check    code that returns what else is wrong, or nothing
sub step {
    my ($self, $title, %step) = @_;
    my $begin = time;
    $self->print_title($title);
    my @wrong = $self->differences($self->{after}, $self->{imagekit}->files, 'between the steps');
    $self->{database}->new_log_lines;

    $step{prepare}->() if $step{prepare};
    my $before = $self->{imagekit}->files;
    $self->print_field('ImageKit', $step{meanwhile}) if $step{meanwhile};
    $self->print_field('before', $self->counts($before));
    my @gone = map {"acme:$_"} @{ $step{gone} }, $self->act(\%step);
    push @wrong, map {"not there before: $_"} grep { !exists $before->{$_} } @gone;

    my %expected = %$before;
    delete @expected{@gone};
    my $after = $self->wait_for(\%expected);
    push @wrong, 'the queue is not empty' if $self->{database}->unsettled;
    push @wrong, $self->differences(\%expected, $after);
    my @went = sort grep { !exists $after->{$_} } keys %$before;
    $self->print_field('gone', $self->shortened(map {s/^acme://r} @went));
    $self->print_field('after', $self->counts($after));
    $self->{after} = $after;

    push @wrong, $self->log_wrongs(\%step), $self->look_wrongs(\%step);
    push @wrong, $step{check}->() if $step{check};
    $self->judge($title, scalar @went, time - $begin, @wrong);
    return;
}

# What the application does, and the marker. Returns the marker's file.
sub act {
    my ($self, $step) = @_;
    $self->print_field('SQL', split /\n/, $step->{sql});
    $self->{database}->as_application($step->{sql});
    return unless $step->{marker};
    my $sql = "DELETE FROM patches WHERE id = $step->{marker};";
    my @file = $self->{database}->column(
        "SELECT path FROM demo.image WHERE relation = 'patches' AND row_id = $step->{marker}");
    $self->print_field('then', $sql, '-- its one file must go: the proof that the worker had its chance');
    $self->{database}->as_application($sql);
    return @file;
}

sub log_wrongs {
    my ($self, $step) = @_;
    my @log = map { /^\[imagekit_cleanup.*?\] *(\w+: ) *(.*)/ ? "$1$2" : () } $self->{database}->new_log_lines;
    $self->print_field('log', $self->shortened(@log));
    my @wrong;
    for my $text (@{ $step->{log} // [] }) {
        push @wrong, "the log lacks: $text" unless grep { index($_, $text) >= 0 } @log;
    }
    return @wrong;
}

sub look_wrongs {
    my ($self, $step) = @_;
    return unless $step->{look};
    my $shown = $self->{database}->psql($step->{look}, '-A', '-t', '-F', '  ', '-U', 'postgres', '-d', 'demo');
    $self->print_field('look', $step->{look}, map {"  $_"} split /\n/, $shown);
    return index($shown, $step->{shows}) >= 0 ? () : "it lacks: $step->{shows}";
}

# A verdict on something other than a step: what is wrong, or nothing.
sub judge {
    my ($self, $title, $files, $seconds, @wrong) = @_;
    push @{ $self->{verdicts} }, { title => $title, right => !@wrong, files => $files, seconds => $seconds };
    $self->print_field('verdict', $self->verdict_word(!@wrong), @wrong);
    return;
}

# Waits until ImageKit holds exactly these files and nothing is queued; returns what it holds then, or when time is up.
# The queue is looked at before the files: what is not queued any more has been deleted already.
sub wait_for {
    my ($self, $expected) = @_;
    my $begin = time;
    my $idle_since;
    while (1) {
        my $idle = $self->{database}->unsettled == 0;
        my $files = $self->{imagekit}->files;
        return $files if $idle && !$self->differences($expected, $files);
        my $now = time;
        $idle_since = $idle ? $idle_since // $now : undef;
        return $files if $now - $begin > DEADLINE || (defined $idle_since && $now - $idle_since > GIVE_UP);
        sleep 0.05;
    }
}

sub differences {
    my ($self, $expected, $actual, $when) = @_;
    my @found;
    push @found, map {"gone, but must not be: $_"} grep { !exists $actual->{$_} } sort keys %$expected;
    push @found, map {"still there: $_"} grep { !exists $expected->{$_} } sort keys %$actual;
    push @found, map {"another file than before: $_"}
        grep { exists $expected->{$_} && $expected->{$_} ne $actual->{$_} } sort keys %$actual;
    return map { $when ? "$when: $_" : $_ } @found;
}

# Prints the table of verdicts and the last line. True when all are right.
sub finish {
    my ($self) = @_;
    my @verdicts = @{ $self->{verdicts} };
    my $number = 0;
    print "\n", $self->bold(sprintf '%3s  %-7s  %5s  %6s  %s', '', 'verdict', 'files', 'time', 'step'), "\n";
    for my $verdict (@verdicts) {
        printf "%3d  %s  %5s  %4.1f s  %s\n", ++$number,
            $self->verdict_word($verdict->{right}) . ' ' x ($verdict->{right} ? 5 : 2),
            $verdict->{files} ? -$verdict->{files} : '.', $verdict->{seconds}, $verdict->{title};
    }
    my $right = grep { $_->{right} } @verdicts;
    print "\n", $self->bold("demo: $right of " . @verdicts . ' verdicts right'), "\n";
    return @verdicts && $right == @verdicts;
}

# Output: one block a step, the names of the fields in a column of their own ----------------------------------

sub print_title {
    my ($self, $title) = @_;
    my $number = @{ $self->{verdicts} } + 1;
    print "\n", $self->bold(sprintf '%2d  %s', $number, $title), "\n";
    return;
}

sub print_field {
    my ($self, $name, @lines) = @_;
    for my $line (@lines) {
        printf "    %-8s %s\n", $name, $line;
        $name = '';
    }
    return;
}

sub counts {
    my ($self, $files) = @_;
    my $globex = grep {/^globex:/} keys %$files;
    return sprintf '%d files, and %d of another account', keys(%$files) - $globex, $globex;
}

sub shortened {
    my ($self, @lines) = @_;
    return @lines if @lines <= FILES_SHOWN;
    return (@lines[0 .. FILES_SHOWN - 2], sprintf '... and %d more', @lines - FILES_SHOWN + 1);
}

sub bold { my ($self, $text) = @_; return $self->{colours} ? "\e[1m$text\e[0m" : $text }

sub verdict_word {
    my ($self, $right) = @_;
    my $word = $right ? 'ok' : 'WRONG';
    return $word unless $self->{colours};
    return $right ? "\e[32m$word\e[0m" : "\e[1;31m$word\e[0m";
}

1;
