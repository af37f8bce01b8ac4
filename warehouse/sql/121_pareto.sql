create view pareto as
with points as (
    select
        'published' as origin,
        null as run_id,
        q.dataset as dataset_id,
        null as protocol_id,
        null as speed_protocol_id,
        null as speed_backend,
        q.metric as quality_metric,
        null as quality_backend,
        concat_ws(' ', q.method, q.variant) as label,
        q.method as system,
        s.value as fps,
        q.value as quality,
        q.higher_is_better
    from published_results q
    join published_results s
        on s.paper_table = q.paper_table
        and s.method = q.method
        and s.variant is not distinct from q.variant
        and s.metric = 'FPS'
    where q.paper_table = 'main_hdtf' and q.metric not in ('FPS', 'TTFF')
    union all by name
    select
        'measured' as origin,
        q.run_id,
        q.dataset_id,
        q.protocol_id,
        s.protocol_id as speed_protocol_id,
        s.backend as speed_backend,
        q.metric as quality_metric,
        q.backend as quality_backend,
        q.label,
        q.system,
        s.value as fps,
        q.value as quality,
        q.higher_is_better
    from set_scores q
    join set_scores s
        on s.run_id = q.run_id
        and s.dataset_id = q.dataset_id
        and s.system = q.system
        and s.published_name = 'FPS'
    where not q.is_wall_clock and q.higher_is_better is not null and not coalesce(q.kind in ('control', 'truth'), false)
),
signed as (
    select *, case when higher_is_better then quality else -quality end as higher_first from points
)
-- On the frontier: nobody at least as fast is better, and nobody as good is faster. Two sorts instead of all pairs.
select
    * exclude (higher_first),
    higher_first = max(higher_first) over (
        partition by origin, dataset_id, protocol_id, speed_protocol_id, speed_backend, quality_metric, quality_backend
        order by fps desc
    )
    and fps = max(fps) over (
        partition by origin, dataset_id, protocol_id, speed_protocol_id, speed_backend, quality_metric, quality_backend, quality
    ) as on_frontier
from signed
order by origin, dataset_id, quality_metric, quality_backend, fps desc, label;

comment on view pareto is
    'Speed against quality. Grain: origin, run, data set, protocols, quality metric and backend, speed backend, system. Controls and truth are left out. A frontier never crosses a backend, a protocol, a data set or the line between published and measured.';
comment on column pareto.on_frontier is 'No other system of the same comparison is at least as fast and as good, and better in one of them.';
comment on column pareto.origin is 'published (printed in the paper) or measured (by a run of this project).';
comment on column pareto.run_id is 'The run that measured the row; null for published rows.';
comment on column pareto.dataset_id is 'Data set and version, or the evaluation set as printed.';
comment on column pareto.protocol_id is 'Protocol of the quality value; null for published rows.';
comment on column pareto.speed_protocol_id is 'Protocol of the speed value; null for published rows.';
comment on column pareto.speed_backend is 'What measured the speed; null for published rows.';
comment on column pareto.quality_metric is 'Metric of the quality: the name in the table metrics for measured rows, as printed for published ones.';
comment on column pareto.quality_backend is 'Backend of the quality value; null for published rows.';
comment on column pareto.label is 'Name of the system for tables and plots, with the variant for published rows.';
comment on column pareto.system is 'Name of the system within its run, or the method as printed.';
comment on column pareto.fps is 'Speed in frames per second; higher is better.';
comment on column pareto.quality is 'The quality score, in the unit of its metric.';
comment on column pareto.higher_is_better is 'Direction of the quality metric.';
