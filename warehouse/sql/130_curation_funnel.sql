create view curation_funnel as
select
    run_id,
    dataset_id,
    position,
    stage,
    unit,
    num_in,
    num_out,
    num_in - num_out as num_lost,
    seconds_in,
    seconds_out,
    num_out / nullif(num_in, 0) as share_kept,
    seconds_out / nullif(first_value(seconds_in) over stages, 0) as share_of_first_seconds
from funnel
window stages as (partition by run_id, dataset_id order by position, stage)
order by run_id, dataset_id, position, stage;

comment on view curation_funnel is 'How much footage each stage of curation lets through. Grain: run, data set, stage.';
comment on column curation_funnel.share_kept is 'Share of what entered this stage.';
comment on column curation_funnel.share_of_first_seconds is 'Seconds left as a share of the seconds that entered the first stage.';
comment on column curation_funnel.run_id is 'The run the row is about; joins runs.';
comment on column curation_funnel.dataset_id is 'Data set and version; joins datasets.';
comment on column curation_funnel.position is 'Order of the stages, from 0.';
comment on column curation_funnel.stage is 'Stage of curation.';
comment on column curation_funnel.unit is 'What is counted, such as segments; the same in every stage of a run.';
comment on column curation_funnel.num_in is 'How many entered the stage.';
comment on column curation_funnel.num_out is 'How many left it alive.';
comment on column curation_funnel.num_lost is 'How many the stage turned away.';
comment on column curation_funnel.seconds_in is 'Seconds of footage that entered; null where unknown.';
comment on column curation_funnel.seconds_out is 'Seconds of footage that left alive; null where unknown.';
