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
