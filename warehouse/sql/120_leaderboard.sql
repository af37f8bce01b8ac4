create view leaderboard as
with scored as (
    select
        *,
        coalesce(kind in ('control', 'truth'), false) as is_control,
        case when higher_is_better then -value else value end as lower_first
    from set_scores
    where higher_is_better is not null
),
ranked as (
    select
        *,
        case
            when not is_control
            then rank() over (
                partition by dataset_id, protocol_id, metric, backend, is_control order by lower_first
            )
        end as place
    from scored
),
best as (
    select dataset_id, protocol_id, metric, backend, min(run_id) as run_id, min(system) as system
    from ranked
    where place = 1
    group by dataset_id, protocol_id, metric, backend
    having count(*) = 1
)
select
    r.dataset_id,
    r.protocol_id,
    r.metric,
    r.metric_label,
    r.backend,
    r.place,
    r.run_id,
    r.system,
    r.label,
    r.kind,
    r.value,
    r.ci_low,
    r.ci_high,
    r.n,
    r.num_identities,
    r.unit,
    r.higher_is_better,
    d.ci_low > 0 or d.ci_high < 0 as separated_from_best
from ranked r
left join best b using (dataset_id, protocol_id, metric, backend)
left join paired_differences d
    on d.run_id = r.run_id
    and b.run_id = r.run_id
    and d.dataset_id = r.dataset_id
    and d.protocol_id = r.protocol_id
    and d.metric = r.metric
    and d.backend = r.backend
    and ((d.system_a = r.system and d.system_b = b.system) or (d.system_a = b.system and d.system_b = r.system))
qualify row_number() over (
    partition by r.dataset_id, r.protocol_id, r.metric, r.backend, r.run_id, r.system order by d.system_a
) = 1
order by r.dataset_id, r.protocol_id, r.metric, r.backend, r.place nulls last, r.run_id, r.system;

comment on view leaderboard is
    'Systems in order, best first, within one data set, protocol, metric and backend. Grain: data set, protocol, metric, backend, run, system.';
comment on column leaderboard.place is 'Rank among real systems; null for controls and truth, which are only shown.';
comment on column leaderboard.separated_from_best is
    'Whether the paired difference with the first place excludes zero; null for the first place itself, and where the difference was not measured.';
comment on column leaderboard.dataset_id is 'Data set and version; joins datasets.';
comment on column leaderboard.protocol_id is 'Protocol that the values were measured with; joins protocols.';
comment on column leaderboard.metric is 'Metric; joins metrics.';
comment on column leaderboard.metric_label is 'Name of the metric for tables and plots.';
comment on column leaderboard.backend is 'The network or algorithm that produced the value, with its hash.';
comment on column leaderboard.run_id is 'The run the row is about; joins runs.';
comment on column leaderboard.system is 'Name of the system within its run; joins systems.';
comment on column leaderboard.label is 'Name of the system for tables and plots.';
comment on column leaderboard.kind is 'control, teacher, student, peer or truth; null where the system is not described.';
comment on column leaderboard.value is 'The score over the whole set, in the unit of the metric.';
comment on column leaderboard.ci_low is 'Lower end of the 95 % interval; null where none was computed.';
comment on column leaderboard.ci_high is 'Upper end of the 95 % interval; null where none was computed.';
comment on column leaderboard.n is 'Clips that the value rests on.';
comment on column leaderboard.num_identities is 'Different people among the clips; the intervals resample these. Null where not counted.';
comment on column leaderboard.unit is 'Unit of the metric; null for dimensionless.';
comment on column leaderboard.higher_is_better is 'Direction of the metric; null where neither end is better.';
