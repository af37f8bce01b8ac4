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
    'Whether the paired difference with the first place excludes zero; null where it was not measured.';
