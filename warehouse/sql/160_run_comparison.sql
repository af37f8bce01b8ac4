create view run_comparison as
select
    a.run_id as run_a,
    b.run_id as run_b,
    a.dataset_id,
    a.protocol_id,
    a.metric,
    a.backend,
    a.system,
    a.value as value_a,
    b.value as value_b,
    b.value - a.value as change,
    a.n as n_a,
    b.n as n_b,
    a.ci_high < b.ci_low or b.ci_high < a.ci_low as intervals_apart,
    case
        when a.higher_is_better is null or a.value = b.value then null
        else (b.value > a.value) = a.higher_is_better
    end as improved
from set_scores a
join set_scores b using (dataset_id, protocol_id, metric, backend, system)
where a.run_id < b.run_id
order by all;

comment on view run_comparison is
    'The same system in two runs, b minus a, only where data set, protocol and backend agree. Grain: pair of runs (names in order), data set, protocol, metric, backend, system.';
comment on column run_comparison.intervals_apart is 'The two intervals do not overlap; null where one is missing.';
comment on column run_comparison.improved is 'Run b is better in the direction of the metric; null where equal or without direction.';
comment on column run_comparison.run_a is 'The run whose name comes first in the alphabet; joins runs.';
comment on column run_comparison.run_b is 'The run whose name comes second; joins runs.';
comment on column run_comparison.dataset_id is 'Data set and version; joins datasets.';
comment on column run_comparison.protocol_id is 'Protocol that the values were measured with; joins protocols.';
comment on column run_comparison.metric is 'Metric; joins metrics.';
comment on column run_comparison.backend is 'The network or algorithm that produced the value, with its hash.';
comment on column run_comparison.system is 'Name of the system within its run; joins systems.';
comment on column run_comparison.value_a is 'Score in run a, in the unit of the metric.';
comment on column run_comparison.value_b is 'Score in run b, in the unit of the metric.';
comment on column run_comparison.change is 'value_b minus value_a.';
comment on column run_comparison.n_a is 'Clips that the value of run a rests on.';
comment on column run_comparison.n_b is 'Clips that the value of run b rests on.';
