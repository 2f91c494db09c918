# What imagekit.report() says of things that are under way, or were broken off: an audit, deletions of orphans that hang, more rows
# without a file than are listed.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Page;
use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.request_timeout' => '120s' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');

sub page { return ImageKit::Page->new($t->sql('SELECT imagekit.report()') . "\n"); }
sub say { return (page()->by_class('say'))[0]->words; }
sub tasks { return map { $_->all('li') } page()->by_class('todo'); }
# The figure of the account's card with this name: what dd says.
sub figure
{
	my ($name) = @_;
	my ($list) = page()->by_class('figures');
	for my $pair ($list->all('div')) { return ($pair->all('dd'))[0]->words if ($pair->all('dt'))[0]->words =~ /^$name/; }
	die "there is no figure $name";
}
sub audit { return ImageKit::AuditCall->start($t, arguments => 'NULL, true')->said; }

$t->sql(qq{INSERT INTO patches SELECT n, ARRAY['$ENDPOINT/used' || n || '.jpg'] FROM generate_series(1, 100) n;
	INSERT INTO patches SELECT 1000 + n, ARRAY['$ENDPOINT/nowhere' || n || '.jpg'] FROM generate_series(1, 103) n});
$imagekit->seed(map { { filePath => $_, size => 1000, @old } } map { "/used$_.jpg" } 1 .. 100);
$imagekit->seed(map { { filePath => "/orphan$_.jpg", size => 2048, @old } } 1 .. 4);

# An audit ----------------------------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', count => 1);
my $audit = ImageKit::AuditCall->start($t);
wait_for { $imagekit->stalled } 'the first page is asked for';
like(say(), qr/Another is under way, and has listed \{0\} files\./, 'an audit is under way');
# However long it has been at one step.
$t->sql(q{UPDATE imagekit.audit_runs SET moved_on_at = now() - interval '3 hours', files = 57});
like(say(), qr/Another is under way, and has listed \{57\} files\./, 'also one that has not moved on for hours');
is(scalar(grep { $_->text =~ /audit/ } tasks()), 0, 'it is in nobody\'s way');
$t->sql('SELECT pg_terminate_backend(' . $audit->backend . ')');
$audit->said;
$imagekit->release;
unlike(say(), qr/under way/, 'one whose session has ended is not under way');
my ($task) = grep { $_->text =~ /audit/ } tasks();
like($task->words, qr/^The audit of .* was broken off: it came no further than /, 'it is said to be broken off at once');
is(join(': ', @{ ($task->statements)[0] }), q{Go on with it: CALL imagekit.audit('acme');}, 'and how it goes on');
$imagekit->no_faults;
like(audit(), qr/4 orphans.*103 URLs without a file/s, 'an audit');
unlike(say(), qr/under way/, 'and none is under way');
is(scalar(grep { $_->text =~ /The audit/ } tasks()), 0, 'nor broken off');

# Rows without a file -----------------------------------------------------------------------------------------------------

sub dangling { return (map { $_->words =~ /^\{(\d+)\} URLs in rows have no file/ ? $1 : () } tasks()), 'none'; }
is((dangling())[0], 103, 'rows without a file are counted');
is(scalar(page()->by_id('dangling')->all('li')), 100, 'a hundred are listed');
like(page()->by_id('dangling')->words, qr/And \{3\} more\./, 'and the rest is counted');
# As if the table had so many that not all are kept.
$t->sql(q{UPDATE imagekit.audit_runs SET dangling = 150003 WHERE state = 'complete'});
is((dangling())[0], 150003, 'also those that are not kept');
like(page()->by_id('dangling')->words, qr/And \{149903\} more\./, 'the list says how many more there are');
$t->sql('CREATE TABLE gone AS SELECT 1 AS id, NULL::text AS picture');
$t->sql(q{INSERT INTO imagekit.audit_dangling (server, relation, row_key, source, url, path, first_seen, last_seen)
	SELECT oid, 'gone'::regclass, '1', 'picture', 'https://ik.imagekit.io/acme/x.jpg', '/x.jpg', now(), now() FROM pg_foreign_server;
	UPDATE imagekit.audit_runs SET dangling = 104 WHERE state = 'complete'; DROP TABLE gone});
is((dangling())[0], 103, 'of a table that was dropped none is left');

# Orphans on their way ----------------------------------------------------------------------------------------------------

$t->sql('CALL imagekit.search_unwatched()');
$t->sql(q{UPDATE imagekit.audit_orphans SET first_seen = first_seen - interval '2 days'});
is(figure('could be freed'), '{8192} {4} orphans', 'what could be freed');
$imagekit->fault(kind => 'stall', method => 'DELETE', count => 0);
like($t->sql(q{SELECT outcome || ' ' || files FROM imagekit.delete_orphans('acme', dry_run => false) LIMIT 1}), qr/^queued 4$/, 'they are queued');
wait_for { $imagekit->stalled } 'and sent';
is($t->sql('SELECT count(*) FROM imagekit.backlog'), 0, 'they are in the drain\'s hands');
is(figure('could be freed'), '{0} {0} orphans', 'what is on its way to be freed is not said to be left');
is(figure('waiting'), '{4}', 'but to wait');
$imagekit->no_faults;
$imagekit->release;
eventually { $imagekit->count . $t->pending } '1000', 'they are deleted';
is(figure('could be freed') . ', ' . figure('waiting') . ', ' . figure('deleted'), '{0} {0} orphans, {0}, {4}', 'and then neither');

done_testing();
