# A listing that has lost most of the library is not believed at once: an answer without files looks like an empty library. Until it is,
# no orphan and no URL without a file comes of it. Who has really deleted most of it goes on by a second audit.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

sub seed { my (@paths) = @_; return $imagekit->seed(map { { filePath => $_, size => 1000, createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z' } } @paths); }
sub audit { return $t->messages('CALL imagekit.audit()'); }
sub audits { my ($what) = @_; return $t->sql("SELECT $what FROM imagekit.audits ORDER BY id DESC LIMIT 1"); }
sub findings { return $t->sql('SELECT (SELECT count(*) FROM imagekit.orphans), (SELECT count(*) FROM imagekit.dangling)'); }
sub completes { my ($files, $what) = @_; like(audit(), qr/NOTICE:  imagekit_cleanup: audit of server "acme": $files files/, $what); return; }
sub is_doubted
{
	my ($files, $what) = @_;
	like(audit(), qr/WARNING:  audit of server "acme" is not complete: ImageKit lists $files files, at the last complete audit there were \d+/, $what);
	is(audits('state, files, orphans, dangling'), "abandoned|$files||", 'and nothing comes of it');
	return;
}
sub empty_answers { my ($count, $skip) = @_; $imagekit->fault(kind => 'status', status => 200, body => '[]', contains => 'ASC_CREATED', count => $count, skip => $skip // 0); return; }

$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true', ADD hold_above 'off', ADD hold_fraction 'off')});
seed('/orphan.jpg', map { "/used$_.jpg" } 1 .. 99);
$t->sql("INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/used' || i || '.jpg'] FROM generate_series(1, 99) i");
completes(100, 'a first audit');
my $found = findings();
is($found, '1|0', 'finds what there is');

# One empty answer.
empty_answers(1);
completes(100, 'one empty answer: the library is listed once more');
is(findings(), $found, 'and is what it was');
is(audits('state'), 'complete', 'that audit is complete');

# Nothing but empty answers.
empty_answers(0);
my $said = audit();
like($said, qr/WARNING:  audit of server "acme" is not complete: ImageKit lists 0 files, at the last complete audit there were 100: see whether the library is whole; if it is, CALL imagekit\.audit\('acme'\) once more$/m,
	'an empty library is not believed');
like($said, qr/HINT:  CALL imagekit\.audit\(\) begins anew\./, 'the next one begins anew');
is(audits('state, files, orphans, dangling'), 'abandoned|0||', 'and nothing comes of it');
is(findings(), $found, 'the findings are those of before');
$imagekit->no_faults;
completes(100, 'when it is over, an audit is complete');
is(findings(), $found, 'and nothing has changed');
empty_answers(0);
is_doubted(0, 'an empty library after that is a new one, and not believed either');

# Not the same number twice: it may be coming back.
$imagekit->no_faults;
$imagekit->remove(map { "/used$_.jpg" } 41 .. 99);
is_doubted(41, 'another number is not believed either');
completes(41, 'the same number twice is believed');
is(findings(), '1|59', 'with what comes of it');

# Empty answers at the end of the listing: what was listed before must not be all that there is.
seed(map { "/used$_.jpg" } 41 .. 99);
completes(100, 'the files are there again');
empty_answers(0, 1);
like(audit(), qr/WARNING:  audit of server "acme" is not complete: the library cannot be listed: /, 'a library that was there and is empty when it is asked again is not believed');
is(findings(), $found, 'and the findings are those of before');
$imagekit->no_faults;

# What we have deleted ourselves is expected.
$t->sql('DELETE FROM patches WHERE id > 20');
eventually { $t->pending } '0', 'most images are deleted';
completes(21, 'what the queue has deleted is no loss');

done_testing();
